-- MovieLens with cells between two colons (ml-1m, ml-10m). Files: ratings.dat, movies.dat.
-- As `movielens`. The titles of ml-1m are Latin-1; for those of ml-10m write utf-8.
CREATE VIEW events AS
SELECT user AS user_id, item AS story_id, 'read' AS type, unix_s(ts) AS occurred_at, rating AS strength, file, line
FROM csv('ratings.dat', delim := '::', header := false, columns := ['user', 'item', 'rating', 'ts']);

CREATE VIEW stories AS
SELECT item AS story_id, title, words(genres, '|') AS topics, published_at, file, line
FROM csv('movies.dat', delim := '::', header := false, columns := ['item', 'title', 'genres'], encoding := 'latin-1')
JOIN (SELECT story_id, min(occurred_at) AS published_at FROM events GROUP BY story_id) ON story_id = item;
