//! Events as firmware, shim and GRUB make them (TCG PC Client Platform Firmware Profile 1.06, §10.4).

use crate::bootlog::{Event, kind};

/// A GUID in EFI's byte order: three little-endian fields, then eight bytes.
type Guid = [u8; 16];

const EFI_GLOBAL_VARIABLE: Guid = guid(0x8be4_df61, 0x93ca, 0x11d2, [0xaa, 0x0d, 0, 0xe0, 0x98, 3, 0x2b, 0x8c]);
const IMAGE_SECURITY_DATABASE: Guid =
    guid(0xd719_b2cb, 0x3d3a, 0x4596, [0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);
const SHIM_LOCK: Guid = guid(0x605d_ab50, 0xe046, 0x4300, [0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23]);
const CERT_X509: Guid = guid(0xa5c0_59a1, 0x94e4, 0x4aa7, [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]);
const CERT_SHA256: Guid = guid(0xc1c4_1626, 0x504c, 0x4092, [0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28]);
/// Who put the stand-in's keys into its signature databases.
const OWNER: Guid = guid(0x5374_726f, 0x6e67, 0x4f6d, [0x80, 1, 2, 3, 4, 5, 6, 7]);

const fn guid(a: u32, b: u16, c: u16, d: [u8; 8]) -> Guid {
    let ([a0, a1, a2, a3], [b0, b1], [c0, c1]) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let [d0, d1, d2, d3, d4, d5, d6, d7] = d;
    [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7]
}

/// The version of the first code that ran, UCS-2, PCR 0.
pub fn crtm_version(version: &str) -> Event {
    Event::of_data(0, kind::S_CRTM_VERSION, ucs2_nul(version))
}

/// A firmware volume at an address, PCR 0.
pub fn firmware_blob(base: u64, length: u64, contents: &[u8]) -> Event {
    let data = [base.to_le_bytes(), length.to_le_bytes()].concat();
    Event::of(0, kind::EFI_PLATFORM_FIRMWARE_BLOB, contents, data)
}

/// A Secure Boot variable, PCR 7. `SecureBoot`, `PK` and `KEK` are EFI's, the others the database's.
pub fn secure_boot_variable(name: &str, value: &[u8]) -> Event {
    let vendor =
        if matches!(name, "SecureBoot" | "PK" | "KEK") { EFI_GLOBAL_VARIABLE } else { IMAGE_SECURITY_DATABASE };
    Event::of_data(7, kind::EFI_VARIABLE_DRIVER_CONFIG, variable(&vendor, name, value))
}

/// The entry of `db` that let an image pass, PCR 7.
pub fn db_authority(certificate: &[u8]) -> Event {
    let value = [OWNER.as_slice(), certificate].concat();
    Event::of_data(7, kind::EFI_VARIABLE_AUTHORITY, variable(&IMAGE_SECURITY_DATABASE, "db", &value))
}

/// An authority of shim, PCR 7: `SbatLevel`, `Shim`, `MokListRT`.
pub fn shim_authority(name: &str, value: &[u8]) -> Event {
    Event::of_data(7, kind::EFI_VARIABLE_AUTHORITY, variable(&SHIM_LOCK, name, value))
}

/// A boot variable, PCR 1; the digest is of the value only, as EDK II does it.
pub fn boot_variable(name: &str, value: &[u8]) -> Event {
    Event::of(1, kind::EFI_VARIABLE_BOOT, value, variable(&EFI_GLOBAL_VARIABLE, name, value))
}

/// A loaded driver, PCR 2.
pub fn driver(image: &[u8]) -> Event {
    Event::of(2, kind::EFI_BOOT_SERVICES_DRIVER, image, image_load(image, "\\driver.efi"))
}

/// A loaded program, PCR 4: boot loader or kernel.
pub fn application(image: &[u8], path: &str) -> Event {
    Event::of(4, kind::EFI_BOOT_SERVICES_APPLICATION, image, image_load(image, path))
}

/// A step of the boot, as text.
pub fn action(pcr: u32, text: &str) -> Event {
    Event::of_data(pcr, kind::EFI_ACTION, text)
}

/// Four zero bytes: the firmware's own measurements end here.
pub fn separator(pcr: u32) -> Event {
    Event::of_data(pcr, kind::SEPARATOR, [0; 4])
}

/// The partition table, PCR 5: header, number of partitions, one partition.
pub fn partition_table(disk: Guid) -> Event {
    let mut data = b"EFI PART".to_vec();
    data.extend_from_slice(&0x0001_0000_u32.to_le_bytes()); // revision 1.0
    data.extend_from_slice(&92_u32.to_le_bytes()); // header size
    data.extend_from_slice(&[0; 8]); // CRC, reserved: GRUB and firmware do not check it in a log
    for lba in [1_u64, 0x013f_ffff, 34, 0x013f_ffde] {
        data.extend_from_slice(&lba.to_le_bytes());
    }
    data.extend_from_slice(&disk);
    data.extend_from_slice(&2_u64.to_le_bytes()); // where the entries start
    data.extend_from_slice(&128_u32.to_le_bytes());
    data.extend_from_slice(&128_u32.to_le_bytes());
    data.extend_from_slice(&[0; 4]); // CRC of the entries
    data.extend_from_slice(&1_u64.to_le_bytes());
    let mut entry = EFI_GLOBAL_VARIABLE.to_vec();
    entry.extend_from_slice(&disk);
    entry.resize(128, 0);
    data.extend_from_slice(&entry);
    Event::of_data(5, kind::EFI_GPT_EVENT, data)
}

/// What shim measures of its own lists, PCR 14.
pub fn shim_list(name: &str, value: &[u8]) -> Event {
    Event::of(14, kind::IPL, value, text_nul(name))
}

/// A command that GRUB ran, PCR 8; the digest is of the command without its prefix.
pub fn grub_command(command: &str) -> Event {
    Event::of(8, kind::IPL, command.as_bytes(), text_nul(&format!("grub_cmd: {command}")))
}

/// The kernel's command line as GRUB passes it, PCR 8.
pub fn grub_kernel_cmdline(cmdline: &str) -> Event {
    Event::of(8, kind::IPL, cmdline.as_bytes(), text_nul(&format!("kernel_cmdline: {cmdline}")))
}

/// A file that GRUB read, PCR 9.
pub fn grub_file(path: &str, contents: &[u8]) -> Event {
    Event::of(9, kind::IPL, contents, text_nul(path))
}

/// An `EFI_SIGNATURE_LIST` of one certificate: the value of `PK`, `KEK` or `db`.
pub fn certificate_list(certificate: &[u8]) -> Vec<u8> {
    signature_list(&CERT_X509, &[certificate])
}

/// An `EFI_SIGNATURE_LIST` of image hashes: the value of `dbx`.
pub fn hash_list(hashes: &[[u8; 32]]) -> Vec<u8> {
    let hashes: Vec<&[u8]> = hashes.iter().map(<[u8; 32]>::as_slice).collect();
    signature_list(&CERT_SHA256, &hashes)
}

fn signature_list(kind: &Guid, signatures: &[&[u8]]) -> Vec<u8> {
    let size = 16 + signatures.first().map_or(0, |s| s.len());
    let mut out = kind.to_vec();
    out.extend_from_slice(&length_u32(28 + size * signatures.len()));
    out.extend_from_slice(&0_u32.to_le_bytes());
    out.extend_from_slice(&length_u32(size));
    for signature in signatures {
        out.extend_from_slice(&OWNER);
        out.extend_from_slice(signature);
    }
    out
}

/// `UEFI_VARIABLE_DATA`: vendor, lengths, name in UCS-2 without its end, value.
fn variable(vendor: &Guid, name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = vendor.to_vec();
    out.extend_from_slice(&length_u64(name.encode_utf16().count()));
    out.extend_from_slice(&length_u64(value.len()));
    out.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
    out.extend_from_slice(value);
    out
}

/// `UEFI_IMAGE_LOAD_EVENT`: where the image lies, and the device path that it came from.
fn image_load(image: &[u8], path: &str) -> Vec<u8> {
    let name = ucs2_nul(path);
    let mut device_path = vec![4, 4]; // media device path, file path
    device_path.extend(u16::try_from(name.len() + 4).unwrap_or(u16::MAX).to_le_bytes());
    device_path.extend_from_slice(&name);
    device_path.extend_from_slice(&[0x7f, 0xff, 4, 0]); // end of the whole path

    let mut out = 0x3c7f_1018_u64.to_le_bytes().to_vec();
    out.extend_from_slice(&length_u64(image.len()));
    out.extend_from_slice(&0_u64.to_le_bytes());
    out.extend_from_slice(&length_u64(device_path.len()));
    out.extend_from_slice(&device_path);
    out
}

fn ucs2_nul(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn text_nul(text: &str) -> Vec<u8> {
    let mut out = text.as_bytes().to_vec();
    out.push(0);
    out
}

fn length_u64(length: usize) -> [u8; 8] {
    (length as u64).to_le_bytes()
}

fn length_u32(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests that OVMF measures with Secure Boot off.
    #[test]
    fn variables_without_keys_have_the_known_digests() {
        let digest = |name, value: &[u8]| hex::encode(secure_boot_variable(name, value).digest);
        assert_eq!(digest("SecureBoot", &[0]), "115aa827dbccfb44d216ad9ecfda56bdea620b860a94bed5b7a27bba1c4d02d8");
        assert_eq!(digest("PK", &[]), "dea7b80ab53a3daaa24d5cc46c64e1fa9ffd03739f90aadbd8c0867c4a5b4890");
        assert_eq!(digest("KEK", &[]), "e670e121fcebd473b8bc41bb801301fc1d9afa33904f06f7149b74f12c47a68f");
        assert_eq!(digest("db", &[]), "baf89a3ccace52750c5f0128351e0422a41597a1adfd50822aa363b9d124ea7c");
        assert_eq!(digest("dbx", &[]), "9f75b6823bff6af1024a4e2036719cdd548d3cbc2bf1de8e7ef4d0ed01f94bf9");
    }

    /// What a GRUB in the wild measured for the same command.
    #[test]
    fn a_command_of_grub_has_the_known_digest() {
        let event = grub_command("set prefix=(hd0,gpt1)/boot/grub");
        assert_eq!(hex::encode(event.digest), "679845b798116003dcee938a7e87a07c7b7dd42b5349e54632bbfa82a740541b");
        assert_eq!(event.data, b"grub_cmd: set prefix=(hd0,gpt1)/boot/grub\0");
    }

    #[test]
    fn exit_boot_services_has_the_known_digest() {
        let event = action(5, "Exit Boot Services Invocation");
        assert_eq!(hex::encode(event.digest), "d8043d6b7b85ad358eb3b6ae6a873ab7ef23a26352c5dc4faa5aeedacf5eb41b");
    }
}
