-- What an import's SQL may call. Each gives text: the value in its plain form, or, where the cell means no such value, the call
-- itself behind a mark, so that the row is refused and the message shows the cell.

CREATE MACRO rex_refused(call, x) AS chr(2) || call || '(' || x::VARCHAR || ')';
CREATE MACRO rex_trim(x) AS nullif(trim(x::VARCHAR, chr(32) || chr(9) || chr(10) || chr(13)), '');

-- Microseconds since 1970; before 1990 and after 2100 the unit is wrong.
CREATE MACRO rex_epoch(x, us, call) AS CASE
    WHEN rex_trim(x) IS NULL THEN NULL
    WHEN us >= 631152000000000 AND us < 4102444800000000 THEN make_timestamptz(floor(us)::BIGINT)::VARCHAR
    ELSE rex_refused(call, x) END;
CREATE MACRO rex_decimal(x) AS try_cast(rex_trim(x) AS DECIMAL(28, 9));
CREATE MACRO unix_s(x) AS rex_epoch(x, rex_decimal(x) * 1000000::DECIMAL(7, 0), 'unix_s');
CREATE MACRO unix_ms(x) AS rex_epoch(x, rex_decimal(x) * 1000::DECIMAL(4, 0), 'unix_ms');
CREATE MACRO unix_us(x) AS rex_epoch(x, rex_decimal(x), 'unix_us');
CREATE MACRO unix_ns(x) AS rex_epoch(x, rex_decimal(x) * 0.001::DECIMAL(4, 3), 'unix_ns');

-- A format of DuckDB's strptime; a year before 1000 comes of two digits where the format wants four.
CREATE MACRO rex_time(x, format, moment) AS CASE
    WHEN rex_trim(x) IS NULL THEN NULL
    WHEN regexp_matches(format, '%-?[YyGcxs]') AND year(moment) BETWEEN 1000 AND 9999 THEN moment::VARCHAR
    ELSE rex_refused('time', x::VARCHAR || ', ' || format) END;
-- Null for a time that clocks skip in spring; of one that they show twice in autumn DuckDB takes one.
CREATE MACRO rex_zoned(t, zone) AS CASE WHEN (t AT TIME ZONE zone) AT TIME ZONE zone = t THEN t AT TIME ZONE zone END;
CREATE MACRO "time"
    (x, format) AS rex_time(x, format, try_strptime(rex_trim(x), format) AT TIME ZONE 'UTC'),
    (x, format, zone) AS rex_time(x, format, CASE WHEN format NOT ILIKE '%\%z%' ESCAPE '\' THEN rex_zoned(try_strptime(rex_trim(x), format), zone) END);

CREATE MACRO number(x, decimal := '.', thousands := '') AS CASE
    WHEN rex_trim(x) IS NULL THEN NULL
    WHEN regexp_full_match(rex_trim(x), '[+-]?(\d+|\d{1,3}([' || coalesce(nullif(thousands, ''), '_') || ']\d{3})+)([' || decimal || ']\d+)?')
        THEN replace(CASE WHEN thousands = '' THEN rex_trim(x) ELSE replace(rex_trim(x), thousands, '') END, decimal, '.')
    ELSE rex_refused('number', x) END;

CREATE MACRO whole(x) AS CASE
    WHEN rex_trim(x) IS NULL THEN NULL
    WHEN regexp_full_match(rex_trim(x), '[+-]?\d+([.]0*)?') THEN split_part(ltrim(rex_trim(x), '+'), '.', 1)
    WHEN try_cast(rex_trim(x) AS DOUBLE) = floor(try_cast(rex_trim(x) AS DOUBLE)) AND abs(try_cast(rex_trim(x) AS DOUBLE)) < 9007199254740992
        THEN try_cast(rex_trim(x) AS DOUBLE)::HUGEINT::VARCHAR
    ELSE rex_refused('whole', x) END;

CREATE MACRO words(x, separator) AS
    list_filter(list_transform(string_split(rex_trim(x), separator), lambda rex_w: rex_trim(rex_w)), lambda rex_w: rex_w IS NOT NULL);

-- A list as JSON or as Python prints it.
CREATE MACRO rex_python_item() AS $$'(?:[^'\\]|\\['"\\])*'|"(?:[^"\\]|\\['"\\])*"|[-+]?\w[-+.\w]*$$;
CREATE MACRO rex_python_list(x) AS list_transform(
    list_filter(regexp_extract_all(x, rex_python_item()), lambda rex_w: rex_w NOT IN ('None', 'nan')),
    lambda rex_w: CASE WHEN rex_w[1] IN ('"', chr(39)) THEN regexp_replace(rex_w[2:-2], '\\(.)', '\1', 'g') ELSE rex_w END);
CREATE MACRO parsed_list(x) AS CASE
    WHEN rex_trim(x) IS NULL THEN NULL
    WHEN rex_trim(x)[1] = '[' AND json_valid(rex_trim(x)) THEN rex_trim(x)::JSON::VARCHAR[]
    WHEN regexp_full_match(rex_trim(x), format('\[\s*((?:{0})\s*(,\s*(?:{0})\s*)*,?\s*)?\]', rex_python_item()))
        THEN rex_python_list(rex_trim(x))
    ELSE [rex_refused('parsed_list', x)] END;

-- An id as it stands, although it looks like something else (a tag 2.0, a user who is called [x]).
CREATE MACRO id(x) AS chr(3) || chr(2) || chr(3) || rex_trim(x);

-- DuckDB takes these for functions of its own where there is no such column, and every row would have its user or schema.
CREATE MACRO user() AS error('there is no column user')::VARCHAR;
CREATE MACRO current_user() AS error('there is no column current_user')::VARCHAR;
CREATE MACRO session_user() AS error('there is no column session_user')::VARCHAR;
CREATE MACRO current_role() AS error('there is no column current_role')::VARCHAR;
CREATE MACRO current_schema() AS error('there is no column current_schema')::VARCHAR;
CREATE MACRO current_catalog() AS error('there is no column current_catalog')::VARCHAR;
