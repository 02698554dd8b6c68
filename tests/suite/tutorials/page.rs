//! A page as its reader takes it: what to type, and what is printed then.

use strongroom_tests::programs::project;

/// What ends a file of a page, and stands in none.
const END: &str = "=== end of the file ===";

/// Commands that are typed at one go.
pub(super) struct Step {
    /// The page, and the line where the block begins.
    pub(super) place: (String, usize),
    /// What the shell is given.
    pub(super) commands: String,
    /// What it prints, and the line where that begins.
    pub(super) expected: Option<(usize, String)>,
}

pub(super) struct Page {
    name: String,
    text: String,
    pub(super) steps: Vec<Step>,
}

impl Page {
    pub(super) fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(project().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        Self::parse(path, &text)
    }

    pub(super) fn parse(name: &str, text: &str) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        let mut lines = text.lines().enumerate();
        let mut before = "";
        while let Some((at, line)) = lines.next() {
            let Some(language) = line.strip_prefix("```") else {
                if !line.is_empty() {
                    before = line;
                }
                continue;
            };
            let mut block = String::new();
            loop {
                match lines.next() {
                    Some((_, "```")) => break,
                    Some((_, line)) => block.extend([line, "\n"]),
                    None => panic!("{name}, line {}: a block is not closed", at + 1),
                }
            }
            let place = (name.to_owned(), at + 1);
            match language {
                "sh" => steps.push(Step { place, commands: block, expected: None }),
                "python" => steps.push(Step { place, commands: file(name, at, before, &block), expected: None }),
                "text" => {
                    let step = steps.last_mut().filter(|step| step.expected.is_none());
                    let step = step.unwrap_or_else(|| panic!("{name}, line {}: what prints this?", at + 1));
                    step.expected = Some((at + 2, block));
                }
                other => panic!("{name}, line {}: a tutorial has no {other:?} blocks", at + 1),
            }
            before = "";
        }
        Self { name: name.to_owned(), text: text.to_owned(), steps }
    }

    /// The part before a heading.
    pub(super) fn until(&self, heading: &str) -> Self {
        let at = self.text.find(&format!("\n{heading}\n"));
        let at = at.unwrap_or_else(|| panic!("{}: there is no heading {heading}", self.name));
        Self::parse(&self.name, &self.text[..at])
    }
}

/// Saves a block as the file that the line before it names.
fn file(page: &str, at: usize, before: &str, block: &str) -> String {
    let name = before.strip_suffix("`:").and_then(|line| line.rsplit_once("as `")).map(|(_, name)| name);
    let name = name.unwrap_or_else(|| panic!("{page}, line {}: save this as what?", at + 1));
    assert!(!name.contains(['\'', '/']) && !block.contains(END));
    format!("cat >'{name}' <<'{END}'\n{block}{END}\n")
}
