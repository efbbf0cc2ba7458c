-- MovieLens as RecBole has it (ml-100k and its like). Files: one *.inter, one *.item.
-- As `movielens`. Other data sets of RecBole differ in the columns of *.item.
CREATE VIEW events AS
SELECT "user_id:token" AS user_id, "item_id:token" AS story_id, 'read' AS type, unix_s("timestamp:float") AS occurred_at,
       "rating:float" AS strength, file, line
FROM tsv(matching('*.inter'), quote := '');

CREATE VIEW stories AS
SELECT "item_id:token" AS story_id, "movie_title:token_seq" AS title, words("class:token_seq", ' ') AS topics, published_at, file, line
FROM tsv(matching('*.item'), quote := '')
JOIN (SELECT story_id, min(occurred_at) AS published_at FROM events GROUP BY story_id) ON story_id = "item_id:token";
