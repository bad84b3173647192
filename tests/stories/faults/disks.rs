//! Disks that are full.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::history::{now, told};
use miner_ctrl_tests::{DEADLINE, Farm, Home};

use crate::clocks::Clock;
use crate::{HEALED, Held, Kept, agreed, hashes, left_nothing_behind, mines};

/// A file system of its own, with little room.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn over(directory: &Path, megabytes: u32) -> Self {
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory).status();
        assert!(mounted.unwrap().success(), "root may mount");
        Self(directory.to_owned())
    }

    /// Leaves no byte free.
    fn fill(&self) -> PathBuf {
        let file = self.0.join("filler");
        let mut chunk = 1 << 20;
        let mut filler = fs::File::create(&file).unwrap();
        while chunk > 0 {
            if filler.write_all(&vec![b'x'; chunk]).is_err() {
                chunk /= 2;
            }
        }
        file
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what still runs there has it open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
#[ignore = "needs root for a disk of its own; `.ci/run faults` runs it"]
async fn on_a_full_disk_nothing_is_lost_and_nothing_is_claimed() {
    let (rig_home, home) = (Home::empty(), Home::empty());
    let (rig_disk, disk) = (SmallDisk::over(rig_home.path(), 24), SmallDisk::over(home.path(), 24));
    let rig_home = rig_home.initialised("rig-alpha", "worker").await;
    let home = home.initialised("control-center", "controller").await;
    let rig = Station { name: "rig-alpha".into(), node: rig_home.serve().await, home: rig_home };
    let controller = Station { name: "control-center".into(), node: home.serve().await, home };
    controller.pair_with(&rig).await;
    let farm = Farm { controller, rigs: vec![rig] };
    farm.add_profile("p").await;
    let (controller, rig) = (&farm.controller.home, farm.rig());
    farm.add_profile("q").await;
    let _ = controller.run("remote deploy rig-alpha --profile p").await.done();
    let _ = controller.run("remote start rig-alpha --profile p").await.done();
    let miner = rig.home.miners();
    let kept = Kept::by(&farm).await;
    let held = Held::in_all(&farm).await;
    let add = "profile add r --program xmrig --algorithm rx/0 --pool pool.example:3333 --wallet W";

    // The controller's own disk: what it keeps itself is refused, and by it.
    let (filler, home) = (disk.fill(), controller.path().to_str().unwrap());
    controller.run(add).await.fails(1, &[home, "hint: "]);
    let _ = controller.run("remote deploy rig-alpha --profile p").await.done();
    hashes(controller, "rig-alpha", HEALED).await;
    assert_eq!(rig.home.miners(), miner);
    let _ = controller.run("peer ping rig-alpha").await.done();
    fs::remove_file(filler).unwrap();

    // The rig's: it mines and is looked at, and keeps nothing new.
    let rig_filler = rig_disk.fill();
    let other = "remote start rig-alpha --profile p --miner xmrig-2";
    for order in ["remote deploy rig-alpha --profile q", other, "remote restart rig-alpha"] {
        controller
            .run(order)
            .await
            .fails(1, &["rig-alpha refused", "No space left on device", "hint: make room on the rig"]);
    }
    hashes(controller, "rig-alpha", HEALED).await;
    assert_eq!(rig.home.miners(), miner);
    // A full disk keeps no miner running; that the next node would start it again is told.
    let stop = "remote stop rig-alpha xmrig-1";
    let told = controller.run(stop).await.done();
    assert!(told.contains("is stopped: its stop is not written down"), "{told}");
    assert_eq!(rig.home.miners(), [0_i32; 0]);
    fs::remove_file(&rig_filler).unwrap();
    let told = controller.run(stop).await.done();
    assert!(told.contains("is stopped") && !told.contains("not written down"), "{told}");
    kept.is_whole(&farm).await;

    // With room again all of it is done.
    let _ = controller.run(add).await.done();
    let _ = controller.run("remote deploy rig-alpha --profile q").await.done();
    let _ = controller.run("remote start rig-alpha --profile p --miner xmrig-1").await.done();
    assert_eq!(agreed(controller, rig, HEALED).await, 1);
    let miner = rig.home.miners();
    let kept = Kept { books: farm.books().await, ..kept };
    assert_eq!(controller.names("profile list").await, ["p", "q", "r"]);
    assert_eq!(rig.home.names("profile list").await, ["p", "q"]);
    left_nothing_behind(held).await;

    let Farm { controller, mut rigs } = farm;
    let Station { name: rig_name, node: rig, home: rig_home } = rigs.remove(0);
    // Who stops writes what it has of the minute. There is no room for it, and what was there before is worth more.
    let (filler, rig_filler) = (disk.fill(), rig_disk.fill());
    rig.kill();
    let Station { name, node, home } = controller;
    let _ = node.terminate().await;
    fs::remove_file(filler).unwrap();
    fs::remove_file(rig_filler).unwrap();
    let (node, rig) = tokio::join!(home.serve(), rig_home.serve());
    let (controller, rig) = (Station { name, node, home }, Station { name: rig_name, node: rig, home: rig_home });
    assert_eq!(agreed(&controller.home, &rig, HEALED).await, 1);
    hashes(&controller.home, "rig-alpha", HEALED).await;
    assert_eq!(rig.home.miners(), miner);
    kept.is_whole(&Farm { controller, rigs: vec![rig] }).await;
    // Before the homes, which cannot be removed from under them.
    drop((disk, rig_disk));
}

/// What a rig says of a stop is what the next node does, which finds the disk as full as it was.
#[tokio::test]
#[ignore = "needs root for a disk of its own; `.ci/run faults` runs it"]
async fn a_stop_that_is_not_written_down_is_told_so_and_holds_until_the_next_node() {
    let home = Home::empty();
    // Its log has another disk, so that it can say where it listens.
    let data = home.path().join(".local");
    fs::create_dir(&data).unwrap();
    let disk = SmallDisk::over(&data, 24);
    let home = home.initialised("rig-alpha", "worker").await;
    let rig = Station { name: "rig-alpha".into(), node: home.serve().await, home };
    let controller = Station::start("control-center", "controller").await;
    controller.pair_with(&rig).await;
    let mut farm = Farm { controller, rigs: vec![rig] };
    let _ = mines(&farm).await;
    let kept = Kept::by(&farm).await;
    let held = Held::by(&farm.controller).await;

    let stop = "remote stop rig-alpha xmrig-1";
    let filler = disk.fill();
    // At the first stop and at one that finds it stopped; and who only looks is told as well.
    for order in [stop, stop, "remote status rig-alpha"] {
        let told = farm.controller.home.run(order).await.done();
        // The miner that ended has made room.
        disk.fill();
        assert!(told.contains("its stop is not written down, and the next node starts it again"), "{order}: {told}");
        assert_eq!(farm.rig().home.miners(), [0_i32; 0], "{order}");
    }
    let rig = farm.rigs.remove(0).killed_and_back().await;
    farm.rigs.push(rig);
    fs::remove_file(filler).unwrap();
    hashes(&farm.controller.home, "rig-alpha", HEALED).await;
    assert_eq!(agreed(&farm.controller.home, farm.rig(), HEALED).await, 1, "as it was told");

    let told = farm.controller.home.run(stop).await.done();
    assert!(told.contains("is stopped") && !told.contains("not written down"), "{told}");
    let rig = farm.rigs.remove(0).killed_and_back().await;
    farm.rigs.push(rig);
    Farm::online(&farm.controller.home, "rig-alpha").await;
    assert_eq!(agreed(&farm.controller.home, farm.rig(), HEALED).await, 0, "done is done");
    kept.is_whole(&farm).await;
    held.no_more().await;
    // Before the home, which cannot be removed from under it.
    drop(disk);
}

/// A controller whose disk is full for long writes a minute of numbers each minute, in vain.
#[tokio::test]
#[ignore = "needs root for a disk of its own, and libfaketime; `.ci/run faults` runs it"]
async fn a_minute_that_finds_no_room_is_lost_alone() {
    let (clock, home) = Clock::of(Home::empty());
    // Its log has another disk, so that it can say what happened.
    let data = home.path().join(".local");
    fs::create_dir(&data).unwrap();
    let disk = SmallDisk::over(&data, 24);
    let home = home.initialised("control-center", "controller").await;
    let controller = Station { name: "control-center".into(), node: home.serve().await, home };
    let rig = Station::start("rig-alpha", "worker").await;
    controller.pair_with(&rig).await;
    let farm = Farm { controller, rigs: vec![rig] };
    farm.add_profile("p").await;
    let controller = &farm.controller;
    let kept = Kept::by(&farm).await;
    let _ = controller.home.run("remote start rig-alpha --profile p --from here").await.done();
    hashes(&controller.home, "rig-alpha", DEADLINE).await;
    let held = Held::in_all(&farm).await;

    // A minute passes as soon as the recorder may have taken its look, which it does each ten seconds.
    let mut looks = tokio::time::interval(Duration::from_secs(12));
    let mut ahead: i64 = 0;
    let filler = disk.fill();
    while !controller.node.log().contains("a minute of history is lost") {
        assert!(ahead < 600, "ten minutes that nobody missed: {}", controller.node.log());
        looks.tick().await;
        ahead += 60;
        clock.set(ahead);
    }
    hashes(&controller.home, "rig-alpha", HEALED).await;
    fs::remove_file(filler).unwrap();
    // Nothing of this minute and the one before was written so far.
    let since = (now() + ahead.unsigned_abs()) / 60 * 60 - 60;
    while told(&controller.home, "rig-alpha", "hashrate", 60, since..since + 600).await.iter().all(Option::is_none) {
        assert!(ahead < 1200, "ten minutes that nobody kept: {}", controller.node.log());
        looks.tick().await;
        ahead += 60;
        clock.set(ahead);
    }
    kept.is_whole(&farm).await;
    left_nothing_behind(held).await;
    // Before the home, which cannot be removed from under it.
    drop(disk);
}
