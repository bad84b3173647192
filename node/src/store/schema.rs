//! The tables, step by step. A step that was released is never changed: what comes later is a further step.

/// Marks the file as ours in its header (`PRAGMA application_id`): `MNCT`.
pub(super) const APPLICATION_ID: i32 = 0x4d4e_4354;

/// Each step brings the database from the version of its index to the next, in one transaction.
pub(super) const MIGRATIONS: &[&str] = &[
    // 1: registered peers. The name is unique whatever its case, as the registry demands too. The node id follows
    // from the key; it is stored since computing it for thousands of peers would be felt at the start.
    "CREATE TABLE peers (
        key BLOB PRIMARY KEY NOT NULL CHECK (length(key) = 32),
        node_id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL COLLATE NOCASE UNIQUE,
        role TEXT NOT NULL,
        permission TEXT NOT NULL,
        addresses TEXT NOT NULL,
        paired_at INTEGER NOT NULL,
        last_seen INTEGER,
        agent TEXT,
        score REAL NOT NULL,
        successes INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        timeouts INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID",
    // 2: who may come in through the dashboard, and who did what. Secrets are stored as hashes alone. An activity's id
    // is never given twice (AUTOINCREMENT), since readers go on from one.
    "CREATE TABLE password (
        one INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
        phc TEXT NOT NULL
    ) STRICT;
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY NOT NULL,
        hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
        created_at INTEGER NOT NULL,
        last_used INTEGER NOT NULL,
        agent TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY NOT NULL,
        name TEXT NOT NULL UNIQUE,
        hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
        scope TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        last_used INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE activity (
        id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
        at INTEGER NOT NULL,
        by TEXT NOT NULL,
        who TEXT,
        address TEXT,
        action TEXT NOT NULL,
        target TEXT,
        detail TEXT,
        result TEXT NOT NULL
    ) STRICT",
    // 3: hashrates over time, many numbers in a row: see history.rs.
    "CREATE TABLE history_series (
        id INTEGER PRIMARY KEY NOT NULL,
        rig TEXT NOT NULL,
        miner TEXT NOT NULL,
        UNIQUE (rig, miner)
    ) STRICT;
    CREATE TABLE history_blocks (
        series INTEGER NOT NULL REFERENCES history_series (id),
        step INTEGER NOT NULL,
        block INTEGER NOT NULL,
        numbers BLOB NOT NULL,
        PRIMARY KEY (series, step, block)
    ) STRICT, WITHOUT ROWID",
    // 4: more than one measure of a miner. A table's own key cannot be changed, so that both are made anew; what was
    // recorded before were hashrates.
    "CREATE TABLE history_series_4 (
        id INTEGER PRIMARY KEY NOT NULL,
        rig TEXT NOT NULL,
        miner TEXT NOT NULL,
        measure TEXT NOT NULL,
        UNIQUE (rig, miner, measure)
    ) STRICT;
    CREATE TABLE history_blocks_4 (
        series INTEGER NOT NULL REFERENCES history_series_4 (id),
        step INTEGER NOT NULL,
        block INTEGER NOT NULL,
        numbers BLOB NOT NULL,
        PRIMARY KEY (series, step, block)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO history_series_4 SELECT id, rig, miner, 'hashrate' FROM history_series;
    INSERT INTO history_blocks_4 SELECT series, step, block, numbers FROM history_blocks;
    DROP TABLE history_blocks;
    DROP TABLE history_series;
    ALTER TABLE history_series_4 RENAME TO history_series;
    ALTER TABLE history_blocks_4 RENAME TO history_blocks",
    // 5: the time up to which old history was let go of last, which a clock that is ahead moves slowly: see history.rs.
    "CREATE TABLE history_clock (
        one INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
        at INTEGER NOT NULL
    ) STRICT",
    // 6: from when on numbers of a rig are missing, until it has told them: see gaps.rs.
    "CREATE TABLE history_missing (
        rig TEXT PRIMARY KEY NOT NULL,
        since INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID",
    // 7: the IP address at which a peer was last.
    "ALTER TABLE peers ADD COLUMN ip TEXT",
];
