//! Programs, boot loader and kernel: rows L5 and L6.

use super::{
    super::{builder::*, *},
    *,
};

#[test]
fn l5_the_boot_path_is_what_was_loaded() {
    let path = accepted(|_| {}).boot_path.unwrap();
    assert_eq!(path.images, [crate::quote::hex(&HashAlg::Sha256.digest(&[b"grub"]))]);
    assert!(path.exit_boot_services && path.configuration.len() == 1);
    let error = refused(|log| {
        log.events.remove(log.place(4, EventType::EFI_BOOT_SERVICES_APPLICATION));
    });
    assert_eq!(error, LogRefused::L5NoImage);
    let late = measured(4, EventType::EFI_BOOT_SERVICES_APPLICATION, b"late", [0; 32]);
    assert!(matches!(refused(|log| log.events.push(late)), LogRefused::L5AfterExit { .. }));
    for step in ["Exit Boot Services Invocation", "Exit Boot Services Returned with Failure"] {
        assert!(matches!(refused(|log| log.events.push(action(5, step))), LogRefused::L5Exit { .. }));
    }
    let cut = accepted(|log| log.events.truncate(log.events.len() - 1));
    assert!(!cut.boot_path.unwrap().exit_boot_services);
    let unannounced = refused(|log| {
        let at = log.events.len() - 2;
        log.events.remove(at);
    });
    assert!(matches!(unannounced, LogRefused::L5Exit { .. }));
    // EDK II measures a failure before it measures the announcement, others after it.
    for back in [1, 2] {
        let retried = accepted(|log| {
            let at = log.events.len() - back;
            log.insert(at, action(5, "Exit Boot Services Returned with Failure"));
        });
        assert_eq!(retried.boot_path.as_ref(), Some(&path));
    }
    let terminated = accepted(|log| {
        let at = log.events.len() - 1;
        log.events[at] = action(5, "Exit Boot Services Returned with Success\0");
    });
    assert!(terminated.boot_path.unwrap().exit_boot_services);
}

#[test]
fn l6_texts_are_believed_where_the_digest_is_of_them() {
    let loader = accepted(|_| {}).loader.unwrap();
    assert_eq!(loader.texts, ["insmod gzio", "/vmlinuz ro quiet"]);
    assert_eq!((loader.unread, loader.files.len()), (0, 2));
    assert_eq!(loader.uki, None);
    let lied = accepted(|log| {
        log.events.push(measured(8, EventType::IPL, b"/vmlinuz single", *b"kernel_cmdline: /vmlinuz ro quiet\0"));
    });
    let lied = lied.loader.unwrap();
    assert_eq!((lied.texts.len(), lied.unread), (2, 1), "what was measured is not what the log says");
    // Another label hides nothing.
    let relabelled = accepted(|log| {
        log.events.push(measured(8, EventType::IPL, b"/vmlinuz single", *b"grub_cmd: /vmlinuz single\0"));
    });
    assert_eq!(relabelled.loader.unwrap().texts[2], "/vmlinuz single");
    let systemd = accepted(|log| log.events.push(event(12, EventType::IPL, utf16("quiet splash\0"))));
    assert_eq!(systemd.loader.unwrap().overrides, ["quiet splash"]);
}

#[test]
fn l6_a_unified_kernel_image_shows_its_sections() {
    let sections = accepted(unified).loader.unwrap().uki.unwrap();
    assert_eq!(sections.keys().collect::<Vec<_>>(), [".cmdline", ".initrd", ".linux"]);
    assert_eq!(sections[".linux"], crate::quote::hex(&HashAlg::Sha256.digest(&[b"kernel"])));
    let wrong = |change: fn(&mut Writer)| {
        let error = refused(|log| {
            unified(log);
            change(log);
        });
        assert!(matches!(error, LogRefused::L6Section { .. }), "{error}");
    };
    wrong(|log| {
        log.events.pop();
    });
    wrong(|log| {
        let second = log.place(11, EventType::IPL) + 2;
        log.events.remove(second);
    });
    wrong(unified);
}
