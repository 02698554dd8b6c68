//! Policy bundles in Rego: load, test, evaluate, explain.
