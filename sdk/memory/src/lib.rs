//! Protected memory: key pages and the weight arena.
