-- CiteULike (citeulike-t). Files: users.dat, tag-item.dat, tags.dat. Without dates: import it with --as-of.
-- A paper in somebody's library counts as read: nothing else is known, and so it is popular, and is not recommended to them again.
-- Line u of users.dat is user u: a count, then the numbers of articles. Line t of tag-item.dat is the same of tag t.
CREATE VIEW events AS
SELECT line AS user_id, unnest(words(line_text, ' ')[2:]) AS story_id, 'read' AS type, NULL AS occurred_at, file, line
FROM lines('users.dat');

CREATE VIEW tagged AS
SELECT unnest(words(line_text, ' ')[2:]) AS story_id, line FROM lines('tag-item.dat');
CREATE VIEW topics AS
SELECT story_id, list(id(line_text) ORDER BY line) AS topics FROM tagged JOIN lines('tags.dat') USING (line) GROUP BY story_id;
CREATE VIEW stories AS
SELECT story_id, topics, NULL AS published_at FROM (SELECT DISTINCT story_id FROM events) LEFT JOIN topics USING (story_id);
