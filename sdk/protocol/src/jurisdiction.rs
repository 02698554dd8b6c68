//! Jurisdictions: the officially assigned codes of ISO 3166-1 alpha-2.

/// The 249 assigned codes, by their first letter. Codes that ISO leaves to its users (`AA`, `QM` to
/// `QZ`, `XA` to `XZ`, `ZZ`) and reserved ones (`EU`, `UK`) are no jurisdictions: two readers of a
/// policy could mean two places by one of them.
const ASSIGNED: [(u8, &str); 26] = [
    (b'A', "DEFGILMOQRSTUWXZ"),
    (b'B', "ABDEFGHIJLMNOQRSTVWYZ"),
    (b'C', "ACDFGHIKLMNORUVWXYZ"),
    (b'D', "EJKMOZ"),
    (b'E', "CEGHRST"),
    (b'F', "IJKMOR"),
    (b'G', "ABDEFGHILMNPQRSTUWY"),
    (b'H', "KMNRTU"),
    (b'I', "DELMNOQRST"),
    (b'J', "EMOP"),
    (b'K', "EGHIMNPRWYZ"),
    (b'L', "ABCIKRSTUVY"),
    (b'M', "ACDEFGHKLMNOPQRSTUVWXYZ"),
    (b'N', "ACEFGILOPRUZ"),
    (b'O', "M"),
    (b'P', "AEFGHKLMNRSTWY"),
    (b'Q', "A"),
    (b'R', "EOSUW"),
    (b'S', "ABCDEGHIJKLMNORSTVXYZ"),
    (b'T', "CDFGHJKLMNORTVWZ"),
    (b'U', "AGMSYZ"),
    (b'V', "ACEGINU"),
    (b'W', "FS"),
    (b'X', ""),
    (b'Y', "ET"),
    (b'Z', "AMW"),
];

/// Whether `code` is an assigned code, in capital letters.
pub fn is_assigned(code: &str) -> bool {
    let [first, second] = code.as_bytes() else { return false };
    ASSIGNED.iter().any(|(letter, others)| letter == first && others.as_bytes().contains(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assigned_codes_are_taken_and_no_others() {
        assert_eq!(ASSIGNED.iter().map(|(_, others)| others.len()).sum::<usize>(), 249);
        for code in ["DE", "FR", "US", "AX", "BQ", "CW", "GB", "ME", "RS", "SS", "SX", "TL", "ZW", "XK"] {
            assert_eq!(is_assigned(code), code != "XK", "{code}");
        }
        for code in ["ZZ", "EU", "UK", "AA", "QM", "XX", "SU", "YU", "AN", "TP", "de", "D", "DEU", "", "D\u{395}"] {
            assert!(!is_assigned(code), "{code}");
        }
    }
}
