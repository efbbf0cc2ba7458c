-- Last.fm 1K: who played what, and when. File: userid-timestamp-artid-artname-traid-traname.tsv.
-- A track is a story, published when it is first played; its artist is the author. Where it has no id, artist and title make one.
CREATE VIEW plays AS
SELECT user, ts, coalesce(track_id, md5(concat_ws(' - ', artist, track))) AS track_id, coalesce(artist_id, md5(artist)) AS artist_id,
       track, file, line
FROM tsv('userid-timestamp-artid-artname-traid-traname.tsv', header := false, quote := '',
         columns := ['user', 'ts', 'artist_id', 'artist', 'track_id', 'track']);
CREATE VIEW events AS
SELECT user AS user_id, track_id AS story_id, 'read' AS type, ts AS occurred_at, file, line FROM plays;

CREATE VIEW stories AS
SELECT track_id AS story_id, arg_min(artist_id, ts) AS author_id, arg_min(track, ts) AS title, min(ts) AS published_at
FROM plays GROUP BY track_id;
