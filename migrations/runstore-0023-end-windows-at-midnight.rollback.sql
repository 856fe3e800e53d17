-- Let windows end as long after their beginning as they did, an hour late where clocks change at
-- midnight. No row changes.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE OR REPLACE FUNCTION runstore.window_end(period text, timezone text, window_start timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE period
        WHEN 'minute' THEN window_start + interval '1 minute'
        WHEN 'hour' THEN window_start + interval '1 hour'
        WHEN 'day' THEN (window_start AT TIME ZONE timezone + interval '1 day') AT TIME ZONE timezone
        WHEN 'week' THEN (window_start AT TIME ZONE timezone + interval '7 days') AT TIME ZONE timezone
        WHEN 'month' THEN (window_start AT TIME ZONE timezone + interval '1 month') AT TIME ZONE timezone
    END
$$;
