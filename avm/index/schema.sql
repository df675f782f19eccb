-- The index of one vault: a cache. Every row can be rebuilt from the files and from git, but for
-- `vector`, which the embedding model recomputes. Changed this file? Raise SCHEMA in database.py:
-- an index of another number is thrown away and built again.
--
-- Paths are rels: `memory/shared/x.md`, UTF-8. Instants are seconds since the epoch, UTC.

-- Facts on the whole.
--   head        the commit up to which `history` was read (hex); absent: none yet
--   generation  raised by every transaction that changes what a search could answer
--   to_embed    the model that the queue `to_embed` is for; absent: none yet
--   born        random, so that what is kept of one index is not taken for another's
CREATE TABLE fact (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO fact VALUES ('born', hex(randomblob(8)));

-- One row a memory file.
CREATE TABLE memory (
    id         INTEGER PRIMARY KEY,
    path       TEXT NOT NULL UNIQUE,
    hash       TEXT NOT NULL,     -- git's blob id of the bytes on disk (SHA-1, hex), filters aside
    -- The stamp of the file when it was read, to tell later versions from this one.
    mtime_ns   INTEGER NOT NULL,
    ctime_ns   INTEGER NOT NULL,
    size       INTEGER NOT NULL,  -- bytes
    inode      INTEGER NOT NULL,
    checked_ns INTEGER NOT NULL,  -- when it was read: within 2 s of its stamp it is read again
    title      TEXT NOT NULL,     -- the front matter's, else the file's stem
    importance REAL,              -- 0.0–1.0; NULL: not given
    created    REAL,              -- from the front matter; NULL: not given
    expires    REAL,              -- from the front matter; NULL: not given
    ttl        REAL,              -- seconds; counts from `created`, else from git's date of the
                                  -- path's addition, else from `seen`; NULL: not given
    seen       REAL NOT NULL,     -- the file's mtime when this index first saw it
    agent      TEXT,              -- from the front matter
    pinned     INTEGER NOT NULL,  -- 0 or 1
    passages   INTEGER NOT NULL,  -- how many it has in `chunk`
    problems   TEXT NOT NULL,     -- what could not be read, a line each; '' for none
    folder     TEXT GENERATED ALWAYS AS (rtrim(path, replace(path, '/', ''))) VIRTUAL -- with its /
);
-- Memories of one folder in the order in which they came: an episode is looked up by it.
CREATE INDEX memory_in_order ON memory (folder, created) WHERE created IS NOT NULL;
CREATE INDEX memory_pinned ON memory (pinned) WHERE pinned = 1;

-- Files that would be memories if their names were UTF-8: the bytes of their rels.
CREATE TABLE undecodable (
    path BLOB PRIMARY KEY
) WITHOUT ROWID;

-- Tags of the front matter and `#tags` of the body, case folded.
CREATE TABLE tag (
    memory_id INTEGER NOT NULL REFERENCES memory (id) ON DELETE CASCADE,
    tag       TEXT NOT NULL,
    PRIMARY KEY (memory_id, tag)
) WITHOUT ROWID;
CREATE INDEX tag_by_name ON tag (tag);

-- What a memory's front matter says of it in keys that AVM does not read, and by `agent`: short
-- values with a letter in them, case folded. A question that names one of them means such memories.
CREATE TABLE field (
    memory_id INTEGER NOT NULL REFERENCES memory (id) ON DELETE CASCADE,
    name      TEXT NOT NULL,
    value     TEXT NOT NULL,
    PRIMARY KEY (memory_id, name, value)
) WITHOUT ROWID;
CREATE INDEX field_by_value ON field (value, name);

-- What a memory points at, as written; resolved when read, among what the reader may see. And what
-- it is called itself.
--   kind  'link' ([[wikilink]] or `links:`), 'supersedes'; 'alias' (a further name of its own),
--         'name' (the stem of its file)
--   name  the stem of `target`, case folded: a link means a memory with the same one
CREATE TABLE link (
    memory_id INTEGER NOT NULL REFERENCES memory (id) ON DELETE CASCADE,
    kind      TEXT NOT NULL,
    target    TEXT NOT NULL,
    name      TEXT NOT NULL,
    PRIMARY KEY (memory_id, kind, target)
) WITHOUT ROWID;
CREATE INDEX link_by_name ON link (name, kind);
CREATE INDEX link_supersedes ON link (kind) WHERE kind = 'supersedes';

-- The passages of a memory: the unit of search and of recall.
CREATE TABLE chunk (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: other processes name chunks
    memory_id  INTEGER NOT NULL REFERENCES memory (id) ON DELETE CASCADE,
    ordinal    INTEGER NOT NULL,  -- 0 is the first
    first_line INTEGER NOT NULL,  -- line numbers in the file, from 1
    last_line  INTEGER NOT NULL,
    start_byte INTEGER NOT NULL,  -- the passage is the file's bytes [start_byte, end_byte)
    end_byte   INTEGER NOT NULL,
    head       TEXT NOT NULL,     -- searched beside the text: title, name, tags, headings
    text       TEXT NOT NULL,
    context    TEXT NOT NULL,     -- what the model reads before the text: title, headings
    cjk        TEXT NOT NULL,     -- CJK as pairs of characters: words.py; mostly ''
    parts      TEXT NOT NULL,     -- parts of identifiers, NFKC forms of words; mostly ''
    hash       BLOB NOT NULL      -- of the text that is embedded; the key into `vector`
);
CREATE INDEX chunk_by_memory ON chunk (memory_id, ordinal);
CREATE INDEX chunk_by_hash ON chunk (hash);

-- Full text over chunks, which hold the content themselves.
CREATE VIRTUAL TABLE chunk_text USING fts5 (
    head, text, cjk, parts,
    content = 'chunk', content_rowid = 'id', tokenize = 'porter unicode61'
);
-- A word in the title, name, tags or headings says more of what a passage is about.
INSERT INTO chunk_text (chunk_text, rank) VALUES ('rank', 'bm25(2.0, 1.0, 1.0, 1.0)');

-- They keep the full text in step with `chunk`, also when a memory's deletion cascades.
CREATE TRIGGER chunk_added AFTER INSERT ON chunk BEGIN
    INSERT INTO chunk_text (rowid, head, text, cjk, parts)
    VALUES (new.id, new.head, new.text, new.cjk, new.parts);
END;
CREATE TRIGGER chunk_removed AFTER DELETE ON chunk BEGIN
    INSERT INTO chunk_text (chunk_text, rowid, head, text, cjk, parts)
    VALUES ('delete', old.id, old.head, old.text, old.cjk, old.parts);
END;

-- Embeddings by content: they outlive renames and rebuilt rows. The numbers are in a file beside
-- this one (avm/index/vector_file.py), whose rows never change and carry the same key.
CREATE TABLE vector (
    hash  BLOB NOT NULL,          -- of the text, as in `chunk`; 16 bytes
    model TEXT NOT NULL,
    row   INTEGER NOT NULL,       -- its place in the model's file, from 0
    PRIMARY KEY (hash, model)
) WITHOUT ROWID;

-- The file of each model's vectors, in the index's folder.
CREATE TABLE vector_file (
    model TEXT PRIMARY KEY,
    name  TEXT NOT NULL,
    rows  INTEGER NOT NULL        -- that are whole and on the disk; behind them may be torn ones
) WITHOUT ROWID;

-- Pairs of passages whose vectors are nearly the same (avm/index/similar.py), by content: a pair
-- whose passages are in no file any more joins nothing, and counts again when they come back.
--   low     the lesser of the two keys
CREATE TABLE similar (
    model  TEXT NOT NULL,
    low    BLOB NOT NULL,
    high   BLOB NOT NULL,
    cosine REAL NOT NULL,
    PRIMARY KEY (model, low, high)
) WITHOUT ROWID;
CREATE INDEX similar_by_cosine ON similar (model, cosine);

-- How far that is: so many rows of the model's file have been compared with each other.
CREATE TABLE similar_rows (
    model TEXT PRIMARY KEY,
    rows  INTEGER NOT NULL
) WITHOUT ROWID;
-- Another file has other rows: all are compared again. (A file that grows has its row replaced,
-- which is no deletion to a trigger.)
CREATE TRIGGER similar_of_no_file AFTER DELETE ON vector_file BEGIN
    DELETE FROM similar WHERE model = old.model;
    DELETE FROM similar_rows WHERE model = old.model;
END;

-- Passages that may lack a vector of the model that the fact `to_embed` names: the queue of the
-- embedding. One that has a vector after all is dropped when it comes up.
CREATE TABLE to_embed (
    chunk_id INTEGER PRIMARY KEY REFERENCES chunk (id) ON DELETE CASCADE
);
CREATE TRIGGER chunk_queued AFTER INSERT ON chunk BEGIN
    INSERT OR IGNORE INTO to_embed VALUES (new.id);
END;

-- What git knows of a path at `head`.
CREATE TABLE history (
    path    TEXT PRIMARY KEY,
    blob    TEXT NOT NULL,        -- the newest committed content; equal to memory.hash: not dirty
    changed REAL NOT NULL,        -- author date of the newest commit that changed it
    added   REAL NOT NULL         -- author date of the newest commit that added it
) WITHOUT ROWID;

-- Each memory with its times resolved.
--   ends     when it expires; NULL: never
--   changed  when it last changed: for a committed file git's date, or `created` if no commit
--            changed it since it was added; for a modified one the stamp; for a new one `created`
--            or the stamp. A fresh clone ranks as its origin does.
CREATE VIEW memory_at AS
SELECT
    memory.*,
    COALESCE(
        memory.expires,
        COALESCE(memory.created, history.added, memory.seen) + memory.ttl
    ) AS ends,
    CASE
        WHEN history.path IS NULL THEN COALESCE(memory.created, memory.mtime_ns / 1e9)
        WHEN history.blob <> memory.hash THEN memory.mtime_ns / 1e9
        WHEN history.changed = history.added THEN COALESCE(memory.created, history.added)
        ELSE history.changed
    END AS changed
FROM memory LEFT JOIN history ON history.path = memory.path;
