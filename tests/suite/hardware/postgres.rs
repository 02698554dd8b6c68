//! The same over PostgreSQL.

use super::{ASSET, Estate};
use strongroom::Request;
use strongroom_tests::postgres::Cluster;

#[test]
fn a_confidential_machine_is_released_to_over_postgresql() {
    let estate = Estate::over_postgres("tier3", &Cluster::shared().database().unwrap());
    let (guest, _) = estate.registered("gpu-1", 0xd1, &[1, 2]);
    let (room, devices) = (estate.room(), guest.devices());
    let lease = room.release(&devices, Request::new().writer(ASSET, 1)).unwrap();
    lease.reattest(&room, &devices).unwrap();
    guest.machine.relaunch();
    assert_eq!(lease.reattest(&room, &devices).unwrap_err().problem().unwrap().reasons, ["rebooted"]);
}
