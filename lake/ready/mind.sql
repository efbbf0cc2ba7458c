-- MIND, Microsoft's news data. Files: behaviors.tsv, news.tsv (of one split).
-- A cell such as `N55689-1 N35729-0` is one impression each, and an open where it ends in 1. The history before has no times and is left
-- out. An article is published when it is first shown; one that never was has no date and is left out.
CREATE VIEW shown AS
SELECT id, user, time(ts, '%m/%d/%Y %I:%M:%S %p') AS occurred_at, unnest(words(impressions, ' ')) AS cell,
       generate_subscripts(words(impressions, ' '), 1) - 1 AS place, file, line
FROM tsv('behaviors.tsv', header := false, columns := ['id', 'user', 'ts', 'history', 'impressions'], quote := '');
CREATE VIEW events AS
SELECT user AS user_id, split_part(cell, '-', 1) AS story_id, 'impression' AS type, occurred_at, id AS request_id, place AS position, file, line
FROM shown
UNION ALL
SELECT user, split_part(cell, '-', 1), 'open', occurred_at, id, place, file, line FROM shown WHERE cell LIKE '%-1';

CREATE VIEW stories AS
SELECT id AS story_id, title, 'en' AS language, [category, subcategory] AS topics, published_at, file, line
FROM tsv('news.tsv', header := false, quote := '',
         columns := ['id', 'category', 'subcategory', 'title', 'abstract', 'url', 'title_entities', 'abstract_entities'])
JOIN (SELECT story_id, min(occurred_at) AS published_at FROM events GROUP BY story_id) ON story_id = id;
