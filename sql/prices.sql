-- Prices: what one unit of a meter of a model costs, from a time on until its next price.
-- A price is never changed, and no cost that was logged is.

-- name: set_price :one
-- Insert a price. No row: there is one from the same time on.
INSERT INTO runstore.prices (provider, model, meter, valid_from, price)
VALUES (%(provider)s, %(model)s, %(meter)s, %(valid_from)s, %(price)s)
ON CONFLICT (provider, model, meter, valid_from) DO NOTHING
RETURNING
    provider,
    model,
    meter,
    valid_from,
    price,
    created_at;

-- name: get_price :one
-- Read the price that a meter has from exactly this time on. No row: there is none.
SELECT
    provider,
    model,
    meter,
    valid_from,
    price,
    created_at
FROM runstore.prices
WHERE provider = %(provider)s
    AND model = %(model)s
    AND meter = %(meter)s
    AND valid_from = %(valid_from)s;

-- name: list_prices :many
-- List the prices of a provider, or of one of its models, by model, meter and time.
SELECT
    provider,
    model,
    meter,
    valid_from,
    price,
    created_at
FROM runstore.prices
WHERE provider = %(provider)s
    AND (%(model)s::text IS NULL OR model = %(model)s)
    AND (
        %(after_model)s::text IS NULL
        OR (model, meter, valid_from)
        > (%(after_model)s, %(after_meter)s, %(after_valid_from)s::timestamptz)
    )
ORDER BY
    model,
    meter,
    valid_from
LIMIT %(row_limit)s;

-- name: price_usage :many
-- Say what amounts of a model's meters cost at a time. Tokens that are a part of others, and have
-- a price of their own, are taken out of the whole; those without one are in it and cost 0.
-- not null: meter
WITH given AS (
    SELECT
        given.meter,
        given.amount::bigint AS amount,
        CASE
            WHEN given.meter IN ('cache_read_tokens', 'cache_write_tokens') THEN 'input_tokens'
            WHEN given.meter = 'reasoning_tokens' THEN 'output_tokens'
        END AS whole,
        price.price
    FROM jsonb_each_text(%(amounts)s::jsonb) AS given (meter, amount)
    LEFT JOIN LATERAL (
        SELECT prices.price
        FROM runstore.prices
        WHERE prices.provider = %(provider)s
            AND prices.model = %(model)s
            AND prices.meter = given.meter
            AND prices.valid_from <= coalesce(%(at)s::timestamptz, statement_timestamp())
        ORDER BY prices.valid_from DESC
        LIMIT 1
    ) AS price ON true
)

SELECT
    given.meter,
    CASE
        WHEN given.price IS NOT NULL
            THEN
                round(
                    given.price * (
                        given.amount - (
                            SELECT coalesce(sum(part.amount), 0)
                            FROM given AS part
                            WHERE part.whole = given.meter
                                AND part.price IS NOT NULL
                        )
                    )
                )::bigint
        WHEN EXISTS (SELECT FROM given AS total WHERE total.meter = given.whole AND total.price IS NOT NULL)
            THEN 0
    END AS cost_nanousd
FROM given
ORDER BY given.meter;
