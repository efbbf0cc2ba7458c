-- DeskDrop: what the people of one company read and shared, 2016-03 to 2017-02. File: users_interactions.csv.
-- With shared_articles.csv beside it, `deskdrop-articles` brings authors, titles and languages, too.
-- VIEW is a read (how long is not known), LIKE a clap, BOOKMARK a save, COMMENT CREATED a comment, FOLLOW a save: it follows an article's
-- comments, not a person. There are no event ids, so exact repeats are events of their own.
CREATE VIEW events AS
SELECT personId AS user_id, contentId AS story_id, unix_s(timestamp) AS occurred_at, file, line,
       CASE eventType WHEN 'VIEW' THEN 'read' WHEN 'LIKE' THEN 'clap' WHEN 'BOOKMARK' THEN 'save' WHEN 'COMMENT CREATED' THEN 'comment'
            WHEN 'FOLLOW' THEN 'save' ELSE eventType END AS type,
       CASE eventType WHEN 'LIKE' THEN 1 END AS claps
FROM csv('users_interactions.csv');

-- Published when first touched.
CREATE VIEW stories AS
SELECT story_id, min(occurred_at) AS published_at FROM events GROUP BY story_id ORDER BY published_at, story_id;
