//! The certificate table that a host lays beside a report (AMD 56421, "GHCB", extended guest request): `auxblob` of
//! configfs-tsm.

use strongroom_protocol::limits::{CERTIFICATE, CERTIFICATES, SNP_AUX};

/// An entry's head: what it is said to be (a GUID), where it starts, how long it is.
const HEAD: usize = 24;
/// Entries, at the most: the list must end before.
const MAX_ENTRIES: usize = 16;

/// The contents of a table, in its order. Labels are not read: nothing vouches for them, and a certificate says what
/// it is. What lies outside the table, or is no certificate by its size, is passed over; so is a table that does not
/// end. At most [`CERTIFICATES`].
pub(super) fn contents(table: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    if table.len() > SNP_AUX {
        return found;
    }
    for head in table.chunks_exact(HEAD).take(MAX_ENTRIES) {
        let (_label, place) = head.split_at(16);
        let number = |bytes: Option<&[u8; 4]>| bytes.and_then(|bytes| usize::try_from(u32::from_le_bytes(*bytes)).ok());
        let (Some(start), Some(length)) = (number(place.first_chunk()), number(place.last_chunk())) else { break };
        if length == 0 {
            break;
        }
        let end = start.checked_add(length);
        let content = end.and_then(|end| table.get(start..end)).filter(|content| content.len() <= CERTIFICATE);
        found.extend(content.filter(|_| found.len() < CERTIFICATES));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(label: u8, start: u32, length: u32) -> Vec<u8> {
        [&[label; 16][..], &start.to_le_bytes(), &length.to_le_bytes()].concat()
    }

    #[test]
    fn contents_are_taken_by_place_and_never_by_label() {
        let table = [entry(1, 72, 2), entry(9, 74, 3), entry(0, 0, 0), b"abcde".to_vec()].concat();
        assert_eq!(contents(&table), [&b"ab"[..], b"cde"]);
    }

    #[test]
    fn places_outside_the_table_are_passed_over() {
        let table = [entry(1, 72, 2), entry(2, u32::MAX, u32::MAX), entry(3, 73, 2)].concat();
        assert!(contents(&table).is_empty());
        assert!(contents(&vec![0xff; SNP_AUX + 1]).is_empty());
        let many = entry(1, 0, 4).repeat(20);
        assert_eq!(contents(&many).len(), CERTIFICATES);
    }
}
