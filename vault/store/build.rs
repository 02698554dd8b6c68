//! A new migration is no change of a source file: without this line it would not be compiled in.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
