-- Yelp Open Dataset. Files: yelp_academic_dataset_review.json, yelp_academic_dataset_business.json, yelp_academic_dataset_user.json.
-- A review is a read with its stars as the strength; a business is a story, published with its first review.
CREATE VIEW events AS
SELECT json->>'$.review_id' AS event_id, json->>'$.user_id' AS user_id, json->>'$.business_id' AS story_id, 'read' AS type,
       json->>'$.date' AS occurred_at, json->>'$.stars' AS strength, file, line
FROM jsonl('yelp_academic_dataset_review.json');

CREATE VIEW stories AS
SELECT json->>'$.business_id' AS story_id, json->>'$.name' AS title, words(json->>'$.categories', ',') AS topics, published_at, file, line
FROM jsonl('yelp_academic_dataset_business.json')
JOIN (SELECT story_id, min(occurred_at) AS published_at FROM events GROUP BY story_id) ON story_id = json->>'$.business_id';

CREATE VIEW users AS
SELECT json->>'$.user_id' AS user_id, json->>'$.yelping_since' AS created_at, file, line FROM jsonl('yelp_academic_dataset_user.json');
