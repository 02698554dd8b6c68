//! The page of commands, written from their definition.

use clap::CommandFactory as _;

#[test]
fn the_page_of_commands_is_generated() {
    let text = strongroom_reference::commands(crate::Cli::command());
    strongroom_reference::keep_part("docs/reference/cli.md", "strongroom", &text).unwrap();
}
