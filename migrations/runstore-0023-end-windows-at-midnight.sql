-- End the windows of days, weeks and months when the next ones begin, also where clocks change at
-- midnight. A day whose first hour is skipped begins at 01:00, to which a day was added. A midnight that
-- comes twice is converted as the second one, and the next day begins at the first: a microsecond after
-- the last one of the day before. That one is converted as one of the next day where the hour before
-- midnight is skipped, so that the earlier of both is when the window ends.
--
-- depends: runstore-0022-keep-replaced-versions

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE OR REPLACE FUNCTION runstore.window_end(period text, timezone text, window_start timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE period
        WHEN 'minute' THEN window_start + interval '1 minute'
        WHEN 'hour' THEN window_start + interval '1 hour'
        WHEN 'day' THEN least(
            (date_trunc('day', window_start AT TIME ZONE timezone) + interval '1 day') AT TIME ZONE timezone,
            (date_trunc('day', window_start AT TIME ZONE timezone) + interval '1 day -1 microsecond')
            AT TIME ZONE timezone + interval '1 microsecond'
        )
        WHEN 'week' THEN least(
            (date_trunc('week', window_start AT TIME ZONE timezone) + interval '7 days') AT TIME ZONE timezone,
            (date_trunc('week', window_start AT TIME ZONE timezone) + interval '7 days -1 microsecond')
            AT TIME ZONE timezone + interval '1 microsecond'
        )
        WHEN 'month' THEN least(
            (date_trunc('month', window_start AT TIME ZONE timezone) + interval '1 month') AT TIME ZONE timezone,
            (date_trunc('month', window_start AT TIME ZONE timezone) + interval '1 month -1 microsecond')
            AT TIME ZONE timezone + interval '1 microsecond'
        )
    END
$$;
