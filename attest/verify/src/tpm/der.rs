//! The little DER that is needed to hand a TPM's key or signature to a verifier (X.690, definite lengths).

/// `INTEGER` of an unsigned big-endian number.
pub(crate) fn unsigned(number: &[u8]) -> Vec<u8> {
    let start = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    let mut content = Vec::with_capacity(number.len() + 1);
    let digits = number.get(start..).unwrap_or_default();
    if digits.first().is_none_or(|&byte| byte >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(digits);
    tagged(0x02, &[&content])
}

/// `SEQUENCE` of parts that are DER already.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, parts)
}

/// `BIT STRING` of whole bytes.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tagged(0x03, &[&[0], bytes])
}

/// Any tag around the parts.
pub(crate) fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    let bytes = length.to_be_bytes();
    if let Ok(short @ ..0x80) = u8::try_from(length) {
        out.push(short);
    } else {
        let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len() - 1);
        let digits = bytes.get(start..).unwrap_or_default();
        // A usize has at most eight bytes, so the count fits beside the high bit.
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
        out.extend_from_slice(digits);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_is_minimal() {
        assert_eq!(unsigned(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0, 0]), [2, 1, 0]);
        assert_eq!(bit_string(&[7]), [3, 2, 0, 7]);
        assert_eq!(sequence(&[&[1; 127]])[..2], [0x30, 0x7f]);
        assert_eq!(sequence(&[&[1; 128]])[..3], [0x30, 0x81, 0x80]);
        assert_eq!(sequence(&[&[1; 256]])[..4], [0x30, 0x82, 1, 0]);
    }
}
