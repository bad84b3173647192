//! The rows at one moment, and what the next moment changes about them. Pure.

use std::collections::HashMap;

use miner_ctrl_protocol::NodeId;

use super::columns::{FIXED, MOVING, Row, column, json};

/// Holes that removed rows may leave before indexes start anew, besides half of the table: a removal costs a few
/// bytes then, and the table stays of the size of the fleet.
const FREE_HOLES: usize = 64;

/// The rows. An index keeps its meaning until [`Change::Anew`].
#[derive(Debug, Default)]
pub(super) struct Table {
    version: u64,
    at: u64,
    rows: Vec<Option<Row>>,
    places: HashMap<NodeId, usize>,
}

/// What is to be told, in this order.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// Indexes start anew: everybody gets a snapshot.
    Anew,
    /// Numbers changed; the event's data.
    Delta(Vec<u8>),
    /// Rows came, went or were renamed; the event's data.
    Peers(Vec<u8>),
}

impl Table {
    /// Takes in the next moment; says what changed.
    pub(super) fn update(&mut self, next: Vec<Row>, at: u64) -> Vec<Change> {
        let mut here = vec![false; self.rows.len()];
        let (mut moved, mut renamed, mut added) = (Vec::new(), Vec::new(), Vec::new());
        let mut differs = vec![false; MOVING.len()];
        for mut row in next {
            let Some(&index) = self.places.get(&row.fixed.id) else {
                added.push(row);
                continue;
            };
            here[index] = true;
            let Some(known) = self.rows[index].as_mut() else { continue };
            if row.live.on == 1 && known.live.on == 1 {
                // "Now" is not a change each second.
                row.live.seen = known.live.seen;
            }
            if row.live != known.live {
                moved.push(index);
                for (differs, column) in differs.iter_mut().zip(MOVING) {
                    *differs |= !(column.same)(&row.live, &known.live);
                }
            }
            if row.fixed != known.fixed {
                renamed.push(index);
            }
            *known = row;
        }
        let removed: Vec<usize> = here
            .iter()
            .enumerate()
            .filter(|(index, here)| !**here && self.rows[*index].is_some())
            .map(|(i, _)| i)
            .collect();
        self.at = at;
        if moved.is_empty() && renamed.is_empty() && added.is_empty() && removed.is_empty() {
            return Vec::new();
        }
        self.version += 1;
        for &index in &removed {
            if let Some(row) = self.rows[index].take() {
                self.places.remove(&row.fixed.id);
            }
        }
        let first_added = self.rows.len();
        for row in added {
            // The same peer twice in one moment would take two rows; the first counts.
            if let std::collections::hash_map::Entry::Vacant(place) = self.places.entry(row.fixed.id) {
                place.insert(self.rows.len());
                self.rows.push(Some(row));
            }
        }
        let holes = self.rows.len() - self.places.len();
        if holes > FREE_HOLES + self.places.len() {
            self.close_holes();
            return vec![Change::Anew];
        }
        let mut changes = Vec::new();
        let added: Vec<usize> = (first_added..self.rows.len()).collect();
        if !(removed.is_empty() && renamed.is_empty() && added.is_empty()) {
            changes.push(Change::Peers(self.peers(&removed, &renamed, &added)));
        }
        if !moved.is_empty() {
            changes.push(Change::Delta(self.delta(&moved, &differs)));
        }
        changes
    }

    /// All rows, as the event's data.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let all: Vec<usize> = (0..self.rows.len()).filter(|index| self.rows[*index].is_some()).collect();
        let mut out = self.head();
        self.whole_rows(&mut out, &all);
        out.push(b'}');
        out
    }

    /// Which change the rows are from.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    fn close_holes(&mut self) {
        self.rows.retain(Option::is_some);
        self.places = self.rows.iter().flatten().enumerate().map(|(index, row)| (row.fixed.id, index)).collect();
    }

    fn head(&self) -> Vec<u8> {
        format!("{{\"v\":{},\"at\":{},", self.version, self.at).into_bytes()
    }

    fn delta(&self, moved: &[usize], differs: &[bool]) -> Vec<u8> {
        let mut out = self.head();
        indexes(&mut out, "i", moved);
        for (moving, _) in MOVING.iter().zip(differs).filter(|(_, differs)| **differs) {
            out.push(b',');
            column(&mut out, moving, self.these(moved).map(|row| &row.live));
        }
        out.push(b'}');
        out
    }

    fn peers(&self, removed: &[usize], renamed: &[usize], added: &[usize]) -> Vec<u8> {
        let mut out = self.head();
        // The comma that stands behind the head goes before each part that follows.
        out.pop();
        if !removed.is_empty() {
            out.push(b',');
            indexes(&mut out, "removed", removed);
        }
        if !renamed.is_empty() {
            out.extend_from_slice(b",\"changed\":{");
            indexes(&mut out, "i", renamed);
            for fixed in FIXED {
                out.push(b',');
                column(&mut out, fixed, self.these(renamed).map(|row| &row.fixed));
            }
            out.push(b'}');
        }
        if !added.is_empty() {
            out.extend_from_slice(b",\"added\":{");
            self.whole_rows(&mut out, added);
            out.push(b'}');
        }
        out.push(b'}');
        out
    }

    fn whole_rows(&self, out: &mut Vec<u8>, which: &[usize]) {
        indexes(out, "i", which);
        for fixed in FIXED {
            out.push(b',');
            column(out, fixed, self.these(which).map(|row| &row.fixed));
        }
        for moving in MOVING {
            out.push(b',');
            column(out, moving, self.these(which).map(|row| &row.live));
        }
    }

    fn these<'a>(&'a self, which: &'a [usize]) -> impl Iterator<Item = &'a Row> {
        which.iter().filter_map(|index| self.rows.get(*index).and_then(Option::as_ref))
    }
}

fn indexes(out: &mut Vec<u8>, name: &str, which: &[usize]) {
    json(out, name);
    out.push(b':');
    json(out, which);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{id, peer, rig};
    use serde_json::{Value, json};

    fn row(number: u8, ping: Option<f64>) -> Row {
        let mut view = rig(peer(number, &format!("rig-{number}")), true);
        view.peer.ping_ms = ping;
        Row::new(&view, id(0))
    }

    fn read(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
    }

    #[test]
    fn a_snapshot_has_every_column_and_each_has_every_row() {
        let mut table = Table::default();
        let changes = table.update(vec![row(1, Some(2.25)), row(2, None)], 1_700_000_000);
        assert!(matches!(changes[..], [Change::Peers(_)]), "{changes:?}");
        let snapshot = read(&table.snapshot());
        let columns = snapshot.as_object().unwrap();
        assert_eq!(columns.len(), 3 + FIXED.len() + MOVING.len());
        assert!(
            columns
                .iter()
                .filter(|(name, _)| *name != "v" && *name != "at")
                .all(|(_, c)| c.as_array().unwrap().len() == 2)
        );
        assert_eq!((&snapshot["i"], &snapshot["ping"]), (&json!([0, 1]), &json!([2, null])));
        assert_eq!((&snapshot["state"], &snapshot["hash"]), (&json!(["mining", "mining"]), &json!([2500.0, 2500.0])));
    }

    #[test]
    fn a_delta_holds_what_changed_and_nothing_else() {
        let mut table = Table::default();
        table.update(vec![row(1, Some(2.25)), row(2, None)], 1);
        assert_eq!(table.update(vec![row(1, Some(2.3)), row(2, None)], 2), [], "noise is no change");
        let changes = table.update(vec![row(1, Some(2.3)), row(2, Some(9.6))], 3);
        let [Change::Delta(delta)] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!(read(delta), json!({"v": 2, "at": 3, "i": [1], "ping": [10]}));
    }

    #[test]
    fn indexes_of_who_left_are_not_given_to_who_comes() {
        let mut table = Table::default();
        table.update(vec![row(1, None), row(2, None)], 1);
        let changes = table.update(vec![row(3, None), row(2, None)], 2);
        let [Change::Peers(peers)] = &changes[..] else { panic!("{changes:?}") };
        let peers = read(peers);
        assert_eq!((&peers["removed"], &peers["added"]["i"]), (&json!([0]), &json!([2])));
        assert_eq!(read(&table.snapshot())["i"], json!([1, 2]));
    }

    #[test]
    fn a_renamed_peer_keeps_its_index() {
        let mut table = Table::default();
        table.update(vec![row(1, None)], 1);
        let renamed = Row::new(&rig(peer(1, "barn"), true), id(0));
        let changes = table.update(vec![renamed], 2);
        let Change::Peers(peers) = &changes[0] else { panic!("{changes:?}") };
        assert_eq!(
            read(peers)["changed"],
            json!({
                "i": [0], "id": ["0000000000000001"], "name": ["barn"], "role": ["worker"], "address": ["192.0.2.1:9091"],
                "here": [0],
            })
        );
    }

    #[test]
    fn a_table_of_holes_starts_anew() {
        let mut table = Table::default();
        for number in 0..=u8::try_from(FREE_HOLES + 2).unwrap() {
            let changes = table.update(vec![row(number, None)], 1);
            if changes == [Change::Anew] {
                assert_eq!(read(&table.snapshot())["i"], json!([0]));
                return;
            }
        }
        panic!("it grew without end");
    }

    #[test]
    fn text_of_strangers_stays_inside_its_line() {
        let mut view = rig(peer(1, "rig-1"), true);
        view.problem = Some("a\n\ndata: <script>\r\u{2028}\"".into());
        let mut table = Table::default();
        table.update(vec![Row::new(&view, id(0))], 1);
        let snapshot = table.snapshot();
        assert!(!snapshot.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
        assert_eq!(read(&snapshot)["problem"][0], view.problem.unwrap());
    }
}
