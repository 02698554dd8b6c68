//! What the boot loader and the kernel's stub measured: row L6.
//!
//! | PCR | who | what |
//! |---|---|---|
//! | 8 | GRUB; systemd-boot before version 251 | commands and kernel command lines, as text |
//! | 9 | GRUB; the kernel's EFI stub | files that it read; the stub's initrd and load options |
//! | 11 | systemd-stub | the sections of a unified kernel image, by name and content |
//! | 12 | systemd-stub | command line, credentials and add-ons that are not part of the image |
//! | 13 | systemd-stub | system extensions |
//! | 14 | shim | machine owner's keys |
//!
//! A text is believed where the digest is of it. What stands before it (`kernel_cmdline: `), and a file's name
//! beside its digest, are not: nothing hashes them. So claims hold texts and digests without such labels, all of
//! them, and count what cannot be read: an event that was made unreadable must not be one less to judge.

use super::{
    LogRefused,
    event::{BootLog, Event},
    kind::EventType,
};
use crate::{quote::hex, uki::section_names};
use strongroom_protocol::claims::Loader;

/// What GRUB writes before the text that it measures, by version and distribution.
const LABELS: [&str; 6] = [
    "grub_cmd: ",
    "grub_cmd ",
    "kernel_cmdline: ",
    "grub_kernel_cmdline ",
    "grub_kernel_cmdline: ",
    "module_cmdline: ",
];

/// Reads PCRs 8 to 12.
pub(super) fn check(log: &BootLog<'_>) -> Result<Loader, LogRefused> {
    let mut loader = Loader::default();
    let mut open = None;
    let mut begun = false;
    for event in log.events().iter().filter(|event| event.kind() != EventType::NO_ACTION) {
        match event.pcr() {
            8 => loader.unread += u32::from(!keep(text(event), &mut loader.texts)),
            9 => loader.files.extend(log.name_of(event).map(hex)),
            11 if !begun || loader.uki.is_some() => {
                begun = true;
                section(&mut loader, log, event, &mut open)?;
            }
            12 => loader.unread += u32::from(!keep(text(event), &mut loader.overrides)),
            _ => {}
        }
    }
    match open {
        Some((event, _)) => {
            Err(LogRefused::L6Section { event, problem: "is the name of a section without its content" })
        }
        None => Ok(loader),
    }
}

fn keep(text: Option<String>, texts: &mut Vec<String>) -> bool {
    let read = text.is_some();
    texts.extend(text);
    read
}

/// systemd-stub measures each section twice: its name with a NUL, then its content.
fn section(
    loader: &mut Loader,
    log: &BootLog<'_>,
    event: &Event<'_>,
    open: &mut Option<(u32, &'static str)>,
) -> Result<(), LogRefused> {
    let refused = |problem| LogRefused::L6Section { event: event.number(), problem };
    let named = section_names().find(|name| event.digests_are_of(&[name.as_bytes(), b"\0"].concat()));
    match (open.take(), named, &mut loader.uki) {
        (Some((_, name)), _, Some(sections)) => {
            sections.extend(log.name_of(event).map(|digest| (name.to_owned(), hex(digest))));
        }
        (_, Some(name), Some(sections)) if sections.contains_key(name) => {
            return Err(refused("is a section that was measured before"));
        }
        (_, Some(name), sections) => {
            sections.get_or_insert_default();
            *open = Some((event.number(), name));
        }
        (_, None, Some(_)) => return Err(refused("is no section of a unified kernel image")),
        // Somebody else's PCR 11.
        (_, None, None) => {}
    }
    Ok(())
}

/// The text that an event's digest is of.
pub(crate) fn text(event: &Event<'_>) -> Option<String> {
    utf8(event).or_else(|| utf16(event))
}

fn utf8(event: &Event<'_>) -> Option<String> {
    let said = std::str::from_utf8(event.data()).ok()?.trim_end_matches('\0');
    // Text in UTF-16 is no text here, nor does a command line have a NUL in it.
    if said.contains('\0') {
        return None;
    }
    let texts = LABELS.iter().filter_map(|label| said.strip_prefix(label)).chain([said]);
    let of =
        |text: &str| event.digests_are_of(text.as_bytes()) || event.digests_are_of(&[text.as_bytes(), b"\0"].concat());
    texts.into_iter().find(|text| of(text)).map(str::to_owned)
}

/// A text in UTF-16 whose digest is of it, with or without its NUL. systemd-boot measures a NUL of two bytes
/// and writes one of them into the log.
fn utf16(event: &Event<'_>) -> Option<String> {
    let data = event.data();
    let even = data.get(..data.len() & !1)?;
    let bare = even.strip_suffix(&[0, 0]).unwrap_or(even);
    if !(event.digests_are_of(bare) || event.digests_are_of(&[bare, &[0, 0]].concat())) {
        return None;
    }
    let units: Vec<u16> = bare.as_chunks::<2>().0.iter().map(|&unit| u16::from_le_bytes(unit)).collect();
    String::from_utf16(&units).ok().filter(|text| !text.is_empty() && !text.contains('\0'))
}
