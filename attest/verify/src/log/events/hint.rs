//! What an event says that it is, in one line.

use super::{
    super::{event::Event, kind::EventType, variable},
    HINT,
};

/// Shortest run of printable characters that is taken for a word.
const WORD: usize = 4;

pub(super) fn of(event: &Event<'_>) -> String {
    let said = said(event).unwrap_or_else(|| words(event.data()));
    let said = if said.is_empty() { format!("{} bytes", event.data().len()) } else { said };
    shown(&format!("{} {said}", event.kind()))
}

/// By the data's layout, where the type has one that says more than words in it would.
fn said(event: &Event<'_>) -> Option<String> {
    let data = event.data();
    match event.kind() {
        EventType::SEPARATOR if data == [0; 4] => Some("zeros".to_owned()),
        EventType::SEPARATOR if data == [0xff; 4] => Some("ones".to_owned()),
        EventType::EFI_VARIABLE_DRIVER_CONFIG
        | EventType::EFI_VARIABLE_BOOT
        | EventType::EFI_VARIABLE_BOOT2
        | EventType::EFI_VARIABLE_AUTHORITY
        | EventType::EFI_SPDM_DEVICE_POLICY
        | EventType::EFI_SPDM_DEVICE_AUTHORITY => self::variable(data),
        EventType::EFI_BOOT_SERVICES_APPLICATION
        | EventType::EFI_BOOT_SERVICES_DRIVER
        | EventType::EFI_RUNTIME_SERVICES_DRIVER => image(data),
        EventType::EFI_GPT_EVENT | EventType::EFI_GPT_EVENT2 => {
            let (count, _) = data.get(92..)?.split_first_chunk::<8>()?;
            Some(format!("{} partitions", u64::from_le_bytes(*count)))
        }
        EventType::EFI_PLATFORM_FIRMWARE_BLOB => {
            let (base, rest) = data.split_first_chunk::<8>()?;
            let (length, _) = rest.split_first_chunk::<8>()?;
            Some(format!("{} bytes at {:#x}", u64::from_le_bytes(*length), u64::from_le_bytes(*base)))
        }
        // `taggedEventID`, length, data. Linux writes what was measured into the data.
        EventType::EVENT_TAG => {
            let (id, rest) = data.split_first_chunk::<4>()?;
            let text = words(rest.get(4..)?);
            Some(format!("{:#010x} {text}", u32::from_le_bytes(*id)))
        }
        _ => None,
    }
}

fn variable(data: &[u8]) -> Option<String> {
    let variable = variable::Variable::parse(data)?;
    let value = match (variable.value, variable::database(variable.value)) {
        ([], _) => "empty".to_owned(),
        (value, Some(found)) if value.len() > 28 => {
            format!("{} certificates, {} other entries", found.certificates.len(), found.others)
        }
        (value, _) if value.len() <= 8 => crate::quote::hex(value),
        (value, _) => format!("{} bytes {}", value.len(), words(value)),
    };
    Some(format!("{} {value}", variable.name))
}

/// `UEFI_IMAGE_LOAD_EVENT` (PFP 1.06, §10.2.3): four numbers of 64 bits, the last the length of a device path.
fn image(data: &[u8]) -> Option<String> {
    let mut nodes = data.get(32..)?;
    let mut path = Vec::new();
    // UEFI 2.10, §10.3: type, subtype, length of the whole node.
    while let Some((&[kind, subtype, low, high], rest)) = nodes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_le_bytes([low, high])).checked_sub(4)?;
        let (content, next) = rest.split_at_checked(length)?;
        match (kind, subtype) {
            (0x7f, _) => break,
            (4, 4) => path.push(utf16(content)),
            (4, 6) => path.push(format!("file {} of a firmware volume", guid(content)?)),
            (4, 7) => path.push(format!("firmware volume {}:", guid(content)?)),
            _ => {}
        }
        nodes = next;
    }
    if path.is_empty() { None } else { Some(path.join(" ")) }
}

fn guid(bytes: &[u8]) -> Option<String> {
    Some(super::super::guid::Guid(*bytes.first_chunk::<16>()?).to_string())
}

fn utf16(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|&unit| u16::from_le_bytes(unit)).take_while(|&unit| unit != 0);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// The data as text if it is one in UTF-8 or UTF-16, else the runs of ASCII in it.
fn words(data: &[u8]) -> String {
    let trimmed = data.strip_suffix(&[0]).unwrap_or(data);
    if let Ok(text) = std::str::from_utf8(trimmed)
        && !text.contains('\0')
    {
        return text.to_owned();
    }
    if let [[first, 0], [_, 0], ..] = data.as_chunks::<2>().0
        && first.is_ascii_graphic()
    {
        return utf16(data);
    }
    let runs = data.split(|byte| !(byte.is_ascii_graphic() || *byte == b' ')).filter(|run| run.len() >= WORD);
    let mut text = String::new();
    for run in runs {
        if text.len() > HINT {
            break;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(run.iter().take(HINT).map(|&byte| char::from(byte)));
    }
    text
}

/// In one line of at most [`HINT`] characters, without anything that a terminal would obey.
fn shown(text: &str) -> String {
    let mut line = String::new();
    let mut count = 0;
    for letter in text.trim_end().chars() {
        let escaped: String = match letter {
            '\\' | '"' | '\'' => letter.to_string(),
            _ => letter.escape_debug().collect(),
        };
        let length = escaped.chars().count();
        if count + length >= HINT {
            line.push('…');
            break;
        }
        count += length;
        line.push_str(&escaped);
    }
    line
}
