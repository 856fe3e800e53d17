-- Create the prices of models. A price holds from a time on until the next one of its meter, and
-- is never changed: what was logged keeps the cost that it was logged with.
--
-- depends: runstore-0011-create-usage-logs

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE TABLE runstore.prices (
    provider text NOT NULL,
    model text NOT NULL,
    meter text NOT NULL,
    valid_from timestamptz NOT NULL,
    price numeric NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT prices_pkey PRIMARY KEY (provider, model, meter, valid_from),
    CONSTRAINT prices_provider_check CHECK (char_length(provider) BETWEEN 1 AND 255),
    CONSTRAINT prices_model_check CHECK (char_length(model) BETWEEN 1 AND 255),
    CONSTRAINT prices_meter_check CHECK (char_length(meter) BETWEEN 1 AND 255),
    CONSTRAINT prices_price_check CHECK (price >= 0 AND price < 'Infinity')
);
COMMENT ON TABLE runstore.prices IS
    'What one unit of a meter of a model costs from a time on, for every tenant. Rows are never changed.';
COMMENT ON COLUMN runstore.prices.provider IS 'Who serves the model.';
COMMENT ON COLUMN runstore.prices.model IS 'The model, as its provider names it.';
COMMENT ON COLUMN runstore.prices.meter IS
    'What is priced. The price of input_tokens is that of the tokens that have no price as cache_read_tokens or '
    'cache_write_tokens, and so for output_tokens and reasoning_tokens.';
COMMENT ON COLUMN runstore.prices.valid_from IS 'When the price begins to hold, inclusive.';
COMMENT ON COLUMN runstore.prices.price IS
    'The price of one unit in 1e-9 USD, fractions included: 3 USD for a million tokens is 3000.';
