-- Book-Crossing. Files: BX-Book-Ratings.csv, BX-Books.csv. Without dates: import it with --as-of.
-- A rating of 0 means that somebody has the book and did not rate it.
CREATE VIEW stories AS
SELECT ISBN AS story_id, "Book-Title" AS title, NULL AS published_at, file, line
FROM csv('BX-Books.csv', delim := ';', escape := '\', encoding := 'latin-1');

CREATE VIEW events AS
SELECT "User-ID" AS user_id, ISBN AS story_id, 'read' AS type, NULL AS occurred_at, nullif("Book-Rating", '0') AS strength, file, line
FROM csv('BX-Book-Ratings.csv', delim := ';', escape := '\', encoding := 'latin-1')
WHERE ISBN IN (SELECT story_id FROM stories);
