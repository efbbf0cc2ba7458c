-- MovieLens as CSV (ml-latest, ml-latest-small, ml-25m, ml-32m). Files: ratings.csv, movies.csv.
-- A rating is a read with its stars as the strength. A film is published when it is first rated; one that nobody rated has no date and
-- is left out. The year of its release stands in the title only.
CREATE VIEW events AS
SELECT userId AS user_id, movieId AS story_id, 'read' AS type, unix_s(timestamp) AS occurred_at, rating AS strength, file, line
FROM csv('ratings.csv');

CREATE VIEW stories AS
SELECT movieId AS story_id, title, words(nullif(genres, '(no genres listed)'), '|') AS topics, published_at, file, line
FROM csv('movies.csv')
JOIN (SELECT story_id, min(occurred_at) AS published_at FROM events GROUP BY story_id) ON story_id = movieId;
