//! Nodes as operators register and change them, by the programs.

mod identities;
