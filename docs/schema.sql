-- The schema as the migrations leave it. To be read, not to be run: `yoyo apply` makes it.
-- Written by scripts/dump-schema.

--
-- Name: runstore; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA runstore;


--
-- Name: SCHEMA runstore; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA runstore IS 'The durable record of AI-agent work: runs and everything that hangs off them.';


--
-- Name: current_tenant_id(); Type: FUNCTION; Schema: runstore; Owner: -
--

CREATE FUNCTION runstore.current_tenant_id() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT coalesce(nullif(current_setting('runstore.tenant_id', true), ''), 'default') $$;


--
-- Name: FUNCTION current_tenant_id(); Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON FUNCTION runstore.current_tenant_id() IS 'The tenant of this transaction: the setting runstore.tenant_id, or ''default'' when it is unset or empty.';


--
-- Name: new_child_id(uuid); Type: FUNCTION; Schema: runstore; Owner: -
--

CREATE FUNCTION runstore.new_child_id(run_id uuid) RETURNS uuid
    LANGUAGE sql STRICT PARALLEL SAFE
    AS $$
    SELECT encode(
        substring(uuid_send(run_id) FOR 10)
        || substring(uuid_send(gen_random_uuid()) FOR 6),
        'hex'
    )::uuid
$$;


--
-- Name: FUNCTION new_child_id(run_id uuid); Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON FUNCTION runstore.new_child_id(run_id uuid) IS 'A new id for something of this run: the run''s first 80 bits and 48 random ones.';


--
-- Name: new_run_id(); Type: FUNCTION; Schema: runstore; Owner: -
--

CREATE FUNCTION runstore.new_run_id() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    AS $$
    SELECT (
        lpad(to_hex(floor(extract(EPOCH FROM clock_timestamp()) * 1000)::bigint), 12, '0')
        || '7'
        || substring(random_hex FOR 3)
        || to_hex(8 + ('x' || substring(random_hex FROM 20 FOR 1))::bit(4)::int % 4)
        || substring(random_hex FROM 4 FOR 3)
        || '000000000000'
    )::uuid
    FROM (SELECT replace(gen_random_uuid()::text, '-', '') AS random_hex) AS entropy
$$;


--
-- Name: FUNCTION new_run_id(); Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON FUNCTION runstore.new_run_id() IS 'A new run id: 48 bits of Unix milliseconds, version 7, 26 random bits, 48 zero bits.';


--
-- Name: run_of(uuid); Type: FUNCTION; Schema: runstore; Owner: -
--

CREATE FUNCTION runstore.run_of(id uuid) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (encode((SUBSTRING(uuid_send(id) FROM 1 FOR 10) || '\x000000000000'::bytea), 'hex'::text))::uuid;


--
-- Name: FUNCTION run_of(id uuid); Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON FUNCTION runstore.run_of(id uuid) IS 'The run to which an id belongs: its first 80 bits. A run''s own id is its own run.';


--
-- Name: window_end(text, text, timestamp with time zone); Type: FUNCTION; Schema: runstore; Owner: -
--

CREATE FUNCTION runstore.window_end(period text, timezone text, window_start timestamp with time zone) RETURNS timestamp with time zone
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


--
-- Name: FUNCTION window_end(period text, timezone text, window_start timestamp with time zone); Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON FUNCTION runstore.window_end(period text, timezone text, window_start timestamp with time zone) IS 'When the window of a quota that began at a time ends, and the next one begins; NULL for a total. Days, weeks and months are the calendar''s, so a day may have 23 or 25 hours.';


--
-- Name: window_start(text, text, timestamp with time zone); Type: FUNCTION; Schema: runstore; Owner: -
--

CREATE FUNCTION runstore.window_start(period text, timezone text, at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT CASE WHEN period = 'total' THEN '-infinity' ELSE date_trunc(period, at, timezone) END $$;


--
-- Name: FUNCTION window_start(period text, timezone text, at timestamp with time zone); Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON FUNCTION runstore.window_start(period text, timezone text, at timestamp with time zone) IS 'When the window of a quota that holds a time began: the calendar''s minute, hour, day, week (from Monday) or month in the quota''s time zone; -infinity for a total.';


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: agent_invocations; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.agent_invocations (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    phase_result_id uuid,
    parent_invocation_id uuid,
    agent text NOT NULL,
    provider text,
    model text,
    status text DEFAULT 'running'::text NOT NULL,
    input jsonb,
    output jsonb,
    finish_reason text,
    error jsonb,
    input_tokens bigint,
    output_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    cost_usd numeric,
    usage_raw jsonb,
    trace_id text,
    span_id text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT agent_invocations_agent_check CHECK (((char_length(agent) >= 1) AND (char_length(agent) <= 255))),
    CONSTRAINT agent_invocations_cache_read_tokens_check CHECK ((cache_read_tokens >= 0)),
    CONSTRAINT agent_invocations_cache_write_tokens_check CHECK ((cache_write_tokens >= 0)),
    CONSTRAINT agent_invocations_cost_usd_check CHECK (((cost_usd >= (0)::numeric) AND (cost_usd < 'Infinity'::numeric))),
    CONSTRAINT agent_invocations_finish_reason_check CHECK (((char_length(finish_reason) >= 1) AND (char_length(finish_reason) <= 255))),
    CONSTRAINT agent_invocations_finished_at_check CHECK (((finished_at IS NOT NULL) = (status <> 'running'::text))),
    CONSTRAINT agent_invocations_id_check CHECK ((OVERLAY(uuid_send(id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))),
    CONSTRAINT agent_invocations_input_tokens_check CHECK ((input_tokens >= (COALESCE(cache_read_tokens, (0)::bigint) + COALESCE(cache_write_tokens, (0)::bigint)))),
    CONSTRAINT agent_invocations_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT agent_invocations_model_check CHECK (((char_length(model) >= 1) AND (char_length(model) <= 255))),
    CONSTRAINT agent_invocations_output_tokens_check CHECK ((output_tokens >= 0)),
    CONSTRAINT agent_invocations_parent_invocation_id_check CHECK ((parent_invocation_id <> id)),
    CONSTRAINT agent_invocations_provider_check CHECK (((char_length(provider) >= 1) AND (char_length(provider) <= 255))),
    CONSTRAINT agent_invocations_reasoning_tokens_check CHECK ((reasoning_tokens >= 0)),
    CONSTRAINT agent_invocations_span_id_check CHECK (((char_length(span_id) >= 1) AND (char_length(span_id) <= 255))),
    CONSTRAINT agent_invocations_status_check CHECK ((status = ANY (ARRAY['running'::text, 'completed'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT agent_invocations_trace_id_check CHECK (((char_length(trace_id) >= 1) AND (char_length(trace_id) <= 255)))
);


--
-- Name: TABLE agent_invocations; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.agent_invocations IS 'One call of an agent. A finished one never changes again.';


--
-- Name: COLUMN agent_invocations.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.id IS 'UUIDv7 that carries its run; made by the client before its first attempt.';


--
-- Name: COLUMN agent_invocations.phase_result_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.phase_result_id IS 'The attempt at a phase that called the agent; NULL: the run itself did.';


--
-- Name: COLUMN agent_invocations.parent_invocation_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.parent_invocation_id IS 'The invocation that called this one as its sub-agent.';


--
-- Name: COLUMN agent_invocations.agent; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.agent IS 'The agent''s name.';


--
-- Name: COLUMN agent_invocations.provider; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.provider IS 'Who served the model.';


--
-- Name: COLUMN agent_invocations.model; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.model IS 'The model, as its provider names it.';


--
-- Name: COLUMN agent_invocations.status; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.status IS 'running; final: completed, failed, cancelled.';


--
-- Name: COLUMN agent_invocations.finish_reason; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.finish_reason IS 'Why the model stopped, in its provider''s word.';


--
-- Name: COLUMN agent_invocations.input_tokens; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.input_tokens IS 'Tokens read, cached reads and writes included; NULL: not reported, never 0 for that.';


--
-- Name: COLUMN agent_invocations.output_tokens; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.output_tokens IS 'Tokens written, reasoning included; NULL: not reported.';


--
-- Name: COLUMN agent_invocations.cache_read_tokens; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.cache_read_tokens IS 'The part of input_tokens that came from a cache; NULL: not reported.';


--
-- Name: COLUMN agent_invocations.cache_write_tokens; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.cache_write_tokens IS 'The part of input_tokens that was written to a cache; NULL: not reported.';


--
-- Name: COLUMN agent_invocations.reasoning_tokens; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.reasoning_tokens IS 'The part of output_tokens that the model spent on reasoning; NULL: not reported.';


--
-- Name: COLUMN agent_invocations.cost_usd; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.cost_usd IS 'What the call cost, in US dollars; NULL: unpriced.';


--
-- Name: COLUMN agent_invocations.usage_raw; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.usage_raw IS 'The provider''s own account of usage, as it came.';


--
-- Name: COLUMN agent_invocations.trace_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.trace_id IS 'The trace (W3C Trace Context) of the call.';


--
-- Name: COLUMN agent_invocations.span_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.span_id IS 'The span (W3C Trace Context) of the call.';


--
-- Name: COLUMN agent_invocations.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_invocations.metadata IS 'A JSON object for what the application adds.';


--
-- Name: agent_steps; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.agent_steps (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    invocation_id uuid NOT NULL,
    "position" integer NOT NULL,
    kind text NOT NULL,
    content jsonb,
    tokens bigint,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT agent_steps_id_check CHECK ((OVERLAY(uuid_send(id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))),
    CONSTRAINT agent_steps_kind_check CHECK (((char_length(kind) >= 1) AND (char_length(kind) <= 255))),
    CONSTRAINT agent_steps_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT agent_steps_position_check CHECK (("position" >= 0)),
    CONSTRAINT agent_steps_tokens_check CHECK ((tokens >= 0))
);


--
-- Name: TABLE agent_steps; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.agent_steps IS 'One step of an invocation: a thought, a message, an action.';


--
-- Name: COLUMN agent_steps.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_steps.id IS 'UUIDv7 that carries its run; made by the client before its first attempt.';


--
-- Name: COLUMN agent_steps."position"; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_steps."position" IS 'The step''s place within its invocation; unique there.';


--
-- Name: COLUMN agent_steps.kind; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_steps.kind IS 'What sort of step it is; the application chooses the words.';


--
-- Name: COLUMN agent_steps.tokens; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_steps.tokens IS 'Tokens that the step took; NULL: not reported.';


--
-- Name: COLUMN agent_steps.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_steps.metadata IS 'A JSON object for what the application adds.';


--
-- Name: COLUMN agent_steps.finished_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.agent_steps.finished_at IS 'NULL while the step is going on.';


--
-- Name: branch_reports; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.branch_reports (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    report_id uuid NOT NULL,
    name text NOT NULL,
    base_version integer NOT NULL,
    status text DEFAULT 'open'::text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    merged_at timestamp with time zone,
    discarded_at timestamp with time zone,
    CONSTRAINT branch_reports_base_version_check CHECK ((base_version >= 1)),
    CONSTRAINT branch_reports_discarded_at_check CHECK (((discarded_at IS NOT NULL) = (status = 'discarded'::text))),
    CONSTRAINT branch_reports_id_check CHECK ((OVERLAY(uuid_send(id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))),
    CONSTRAINT branch_reports_merged_at_check CHECK (((merged_at IS NOT NULL) = (status = 'merged'::text))),
    CONSTRAINT branch_reports_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT branch_reports_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 255))),
    CONSTRAINT branch_reports_report_id_check CHECK ((OVERLAY(uuid_send(report_id) PLACING '\x000000000000'::bytea FROM 11) <> uuid_send(run_id))),
    CONSTRAINT branch_reports_status_check CHECK ((status = ANY (ARRAY['open'::text, 'merged'::text, 'discarded'::text])))
);


--
-- Name: TABLE branch_reports; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.branch_reports IS 'A branch of a report: what a forked run makes of it. One that is not open never changes again.';


--
-- Name: COLUMN branch_reports.run_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_reports.run_id IS 'The forked run, to which the branch belongs.';


--
-- Name: COLUMN branch_reports.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_reports.id IS 'UUIDv7 that carries the forked run; made by the client before its first attempt.';


--
-- Name: COLUMN branch_reports.report_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_reports.report_id IS 'The report, which belongs to a run that this one was forked from; its id carries that run.';


--
-- Name: COLUMN branch_reports.name; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_reports.name IS 'What the branch is called; unique per forked run and report.';


--
-- Name: COLUMN branch_reports.base_version; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_reports.base_version IS 'The report''s version when the branch was made.';


--
-- Name: COLUMN branch_reports.status; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_reports.status IS 'open; final: merged (into the report), discarded.';


--
-- Name: COLUMN branch_reports.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_reports.metadata IS 'A JSON object for what the application adds.';


--
-- Name: COLUMN branch_reports.updated_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_reports.updated_at IS 'When the branch, a section of it or its status last changed.';


--
-- Name: branch_sections; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.branch_sections (
    run_id uuid NOT NULL,
    branch_id uuid NOT NULL,
    slug text NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    section_id uuid,
    base_version integer NOT NULL,
    "position" integer,
    heading text,
    content text NOT NULL,
    citations jsonb DEFAULT '[]'::jsonb NOT NULL,
    status text DEFAULT 'changed'::text NOT NULL,
    version integer NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    replaced_version integer,
    CONSTRAINT branch_sections_base_version_check CHECK (((base_version >= 0) AND ((base_version = 0) = (section_id IS NULL)))),
    CONSTRAINT branch_sections_citations_check CHECK ((jsonb_typeof(citations) = 'array'::text)),
    CONSTRAINT branch_sections_heading_check CHECK (((char_length(heading) >= 1) AND (char_length(heading) <= 255))),
    CONSTRAINT branch_sections_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT branch_sections_position_check CHECK (("position" >= 0)),
    CONSTRAINT branch_sections_slug_check CHECK (((char_length(slug) >= 1) AND (char_length(slug) <= 255))),
    CONSTRAINT branch_sections_status_check CHECK ((status = ANY (ARRAY['changed'::text, 'removed'::text, 'reverted'::text]))),
    CONSTRAINT branch_sections_version_check CHECK ((version > base_version))
);


--
-- Name: TABLE branch_sections; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.branch_sections IS 'A section that a branch changed, removed or added; of the others it has no row and shows the report''s. Whoever writes one locks its branch first.';


--
-- Name: COLUMN branch_sections.section_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_sections.section_id IS 'The report''s section that the branch works on; its id carries the report''s run. NULL: a new one.';


--
-- Name: COLUMN branch_sections.base_version; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_sections.base_version IS 'The version of the report''s section that the branch works on; 0: the report had none.';


--
-- Name: COLUMN branch_sections."position"; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_sections."position" IS 'The section''s place; NULL: where the report has it, or at the end.';


--
-- Name: COLUMN branch_sections.citations; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_sections.citations IS 'A JSON array of what the text cites; the application chooses the shape.';


--
-- Name: COLUMN branch_sections.status; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_sections.status IS 'changed: the text is the branch''s; removed: the branch leaves the section out; reverted: the report''s shows again, and the row keeps its version from being given out again.';


--
-- Name: COLUMN branch_sections.version; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_sections.version IS 'Goes on from the version of the report''s section and grows with every write of the branch.';


--
-- Name: COLUMN branch_sections.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_sections.metadata IS 'A JSON object for what the application adds.';


--
-- Name: COLUMN branch_sections.updated_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_sections.updated_at IS 'When the branch last wrote the section.';


--
-- Name: COLUMN branch_sections.replaced_version; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.branch_sections.replaced_version IS 'The version that the last write found, the branch''s or the report''s; 0: it found none; NULL: the one before.';


--
-- Name: cta_events; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.cta_events (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    phase text,
    kind text NOT NULL,
    invocation_id uuid,
    tool_call_id uuid,
    request jsonb,
    status text DEFAULT 'pending'::text NOT NULL,
    response_data jsonb,
    expires_at timestamp with time zone,
    resolved_by text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    resolved_at timestamp with time zone,
    CONSTRAINT cta_events_id_check CHECK ((OVERLAY(uuid_send(id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))),
    CONSTRAINT cta_events_kind_check CHECK (((char_length(kind) >= 1) AND (char_length(kind) <= 255))),
    CONSTRAINT cta_events_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT cta_events_phase_check CHECK (((char_length(phase) >= 1) AND (char_length(phase) <= 255))),
    CONSTRAINT cta_events_resolved_at_check CHECK (((resolved_at IS NOT NULL) = (status <> 'pending'::text))),
    CONSTRAINT cta_events_resolved_by_check CHECK (((char_length(resolved_by) >= 1) AND (char_length(resolved_by) <= 255))),
    CONSTRAINT cta_events_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'completed'::text, 'timed_out'::text, 'cancelled'::text])))
);


--
-- Name: TABLE cta_events; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.cta_events IS 'A call to action: a question to a person. One that is no longer pending never changes again.';


--
-- Name: COLUMN cta_events.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.cta_events.id IS 'UUIDv7 that carries its run; made by the client before its first attempt.';


--
-- Name: COLUMN cta_events.kind; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.cta_events.kind IS 'What sort of question it is; the application chooses the words.';


--
-- Name: COLUMN cta_events.tool_call_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.cta_events.tool_call_id IS 'The tool call that waits for the answer; it has one pending question at most.';


--
-- Name: COLUMN cta_events.request; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.cta_events.request IS 'The question; NULL: its kind says all.';


--
-- Name: COLUMN cta_events.status; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.cta_events.status IS 'pending; final: completed (answered), timed_out, cancelled.';


--
-- Name: COLUMN cta_events.response_data; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.cta_events.response_data IS 'The answer; NULL: none.';


--
-- Name: COLUMN cta_events.expires_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.cta_events.expires_at IS 'When a pending question is overdue; NULL: never.';


--
-- Name: COLUMN cta_events.resolved_by; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.cta_events.resolved_by IS 'Who answered or cancelled.';


--
-- Name: COLUMN cta_events.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.cta_events.metadata IS 'A JSON object for what the application adds.';


--
-- Name: memory_records; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.memory_records (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    phase text,
    kind text NOT NULL,
    content text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT memory_records_id_check CHECK ((OVERLAY(uuid_send(id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))),
    CONSTRAINT memory_records_kind_check CHECK (((char_length(kind) >= 1) AND (char_length(kind) <= 255))),
    CONSTRAINT memory_records_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT memory_records_phase_check CHECK (((char_length(phase) >= 1) AND (char_length(phase) <= 255)))
);


--
-- Name: TABLE memory_records; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.memory_records IS 'Something that a run remembers. Never changed.';


--
-- Name: COLUMN memory_records.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.memory_records.id IS 'UUIDv7 that carries its run; made by the client before its first attempt.';


--
-- Name: COLUMN memory_records.phase; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.memory_records.phase IS 'The phase that learnt it.';


--
-- Name: COLUMN memory_records.kind; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.memory_records.kind IS 'What sort of memory it is; the application chooses the words.';


--
-- Name: COLUMN memory_records.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.memory_records.metadata IS 'A JSON object for what the application adds.';


--
-- Name: phase_results; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.phase_results (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    phase text NOT NULL,
    attempt integer NOT NULL,
    status text DEFAULT 'running'::text NOT NULL,
    input jsonb,
    output jsonb,
    error jsonb,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT phase_results_attempt_check CHECK ((attempt >= 1)),
    CONSTRAINT phase_results_finished_at_check CHECK (((finished_at IS NOT NULL) = (status <> 'running'::text))),
    CONSTRAINT phase_results_id_check CHECK ((OVERLAY(uuid_send(id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))),
    CONSTRAINT phase_results_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT phase_results_phase_check CHECK (((char_length(phase) >= 1) AND (char_length(phase) <= 255))),
    CONSTRAINT phase_results_status_check CHECK ((status = ANY (ARRAY['running'::text, 'passed'::text, 'failed'::text])))
);


--
-- Name: TABLE phase_results; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.phase_results IS 'One attempt at a phase. A passed or failed one never changes again.';


--
-- Name: COLUMN phase_results.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.phase_results.id IS 'UUIDv7 that carries its run; made by the client before its first attempt.';


--
-- Name: COLUMN phase_results.attempt; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.phase_results.attempt IS 'From 1; unique within its run and phase.';


--
-- Name: COLUMN phase_results.status; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.phase_results.status IS 'running; final: passed, failed.';


--
-- Name: COLUMN phase_results.input; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.phase_results.input IS 'What the phase was given; NULL: nothing.';


--
-- Name: COLUMN phase_results.output; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.phase_results.output IS 'What the phase gave; NULL: nothing.';


--
-- Name: COLUMN phase_results.error; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.phase_results.error IS 'Why the attempt failed; NULL: nothing was said.';


--
-- Name: COLUMN phase_results.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.phase_results.metadata IS 'A JSON object for what the application adds.';


--
-- Name: prices; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.prices (
    provider text NOT NULL,
    model text NOT NULL,
    meter text NOT NULL,
    valid_from timestamp with time zone NOT NULL,
    price numeric NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT prices_meter_check CHECK (((char_length(meter) >= 1) AND (char_length(meter) <= 255))),
    CONSTRAINT prices_model_check CHECK (((char_length(model) >= 1) AND (char_length(model) <= 255))),
    CONSTRAINT prices_price_check CHECK (((price >= (0)::numeric) AND (price < 'Infinity'::numeric))),
    CONSTRAINT prices_provider_check CHECK (((char_length(provider) >= 1) AND (char_length(provider) <= 255)))
);


--
-- Name: TABLE prices; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.prices IS 'What one unit of a meter of a model costs from a time on, for every tenant. Rows are never changed.';


--
-- Name: COLUMN prices.provider; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.prices.provider IS 'Who serves the model.';


--
-- Name: COLUMN prices.model; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.prices.model IS 'The model, as its provider names it.';


--
-- Name: COLUMN prices.meter; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.prices.meter IS 'What is priced. The price of input_tokens is that of the tokens that have no price as cache_read_tokens or cache_write_tokens, and so for output_tokens and reasoning_tokens.';


--
-- Name: COLUMN prices.valid_from; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.prices.valid_from IS 'When the price begins to hold, inclusive.';


--
-- Name: COLUMN prices.price; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.prices.price IS 'The price of one unit in 1e-9 USD, fractions included: 3 USD for a million tokens is 3000.';


--
-- Name: quotas; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.quotas (
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    subject_id text NOT NULL,
    id uuid NOT NULL,
    meter text NOT NULL,
    period text NOT NULL,
    timezone text DEFAULT 'UTC'::text NOT NULL,
    limit_amount bigint NOT NULL,
    hard boolean DEFAULT true NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT quotas_limit_amount_check CHECK ((limit_amount >= 0)),
    CONSTRAINT quotas_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT quotas_meter_check CHECK (((char_length(meter) >= 1) AND (char_length(meter) <= 255))),
    CONSTRAINT quotas_period_check CHECK ((period = ANY (ARRAY['minute'::text, 'hour'::text, 'day'::text, 'week'::text, 'month'::text, 'total'::text]))),
    CONSTRAINT quotas_subject_id_check CHECK (((char_length(subject_id) >= 1) AND (char_length(subject_id) <= 255))),
    CONSTRAINT quotas_tenant_id_check CHECK (((char_length(tenant_id) >= 1) AND (char_length(tenant_id) <= 255))),
    CONSTRAINT quotas_timezone_check CHECK (((char_length(timezone) >= 1) AND (char_length(timezone) <= 255)))
);


--
-- Name: TABLE quotas; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.quotas IS 'How much a subject may use of a meter in a period. All quotas of a subject on a meter must hold; a meter on which it has none is unlimited.';


--
-- Name: COLUMN quotas.subject_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.quotas.subject_id IS 'Who is limited: a user, a team, a tenant; the application chooses.';


--
-- Name: COLUMN quotas.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.quotas.id IS 'Which quota it is: one that is removed and set again has another id, and so other counters.';


--
-- Name: COLUMN quotas.meter; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.quotas.meter IS 'What is counted, in the meter''s own unit: tokens, runs, tool_calls; cost_nanousd is money in 1e-9 USD.';


--
-- Name: COLUMN quotas.period; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.quotas.period IS 'The length of a window; a total has one window, which never ends.';


--
-- Name: COLUMN quotas.timezone; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.quotas.timezone IS 'The time zone in which the windows begin, as pg_timezone_names has it. It never changes under one id.';


--
-- Name: COLUMN quotas.limit_amount; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.quotas.limit_amount IS 'The most that may be used in a window, in the meter''s unit.';


--
-- Name: COLUMN quotas.hard; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.quotas.hard IS 'True: what would pass the limit is refused. False: it is counted, and seen in reports.';


--
-- Name: COLUMN quotas.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.quotas.metadata IS 'A JSON object for what the application adds.';


--
-- Name: COLUMN quotas.updated_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.quotas.updated_at IS 'When the quota was last set.';


--
-- Name: report_sections; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.report_sections (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    report_id uuid NOT NULL,
    slug text NOT NULL,
    "position" integer NOT NULL,
    heading text,
    content text NOT NULL,
    citations jsonb DEFAULT '[]'::jsonb NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    replaced_version integer,
    CONSTRAINT report_sections_citations_check CHECK ((jsonb_typeof(citations) = 'array'::text)),
    CONSTRAINT report_sections_heading_check CHECK (((char_length(heading) >= 1) AND (char_length(heading) <= 255))),
    CONSTRAINT report_sections_id_check CHECK ((OVERLAY(uuid_send(id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))),
    CONSTRAINT report_sections_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT report_sections_position_check CHECK (("position" >= 0)),
    CONSTRAINT report_sections_slug_check CHECK (((char_length(slug) >= 1) AND (char_length(slug) <= 255))),
    CONSTRAINT report_sections_status_check CHECK ((status = ANY (ARRAY['active'::text, 'removed'::text]))),
    CONSTRAINT report_sections_version_check CHECK ((version >= 1))
);


--
-- Name: TABLE report_sections; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.report_sections IS 'A section of a report''s working text. Whoever writes one locks its report first.';


--
-- Name: COLUMN report_sections.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_sections.id IS 'UUIDv7 that carries its run.';


--
-- Name: COLUMN report_sections.slug; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_sections.slug IS 'The section''s name; unique within its report.';


--
-- Name: COLUMN report_sections."position"; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_sections."position" IS 'The section''s place within its report; sections of one place stand by slug.';


--
-- Name: COLUMN report_sections.citations; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_sections.citations IS 'A JSON array of what the text cites; the application chooses the shape.';


--
-- Name: COLUMN report_sections.status; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_sections.status IS 'active; removed: its text is gone, and the row keeps its version from being given out again.';


--
-- Name: COLUMN report_sections.version; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_sections.version IS 'How often the section was written or removed; from 1, also across versions of the report.';


--
-- Name: COLUMN report_sections.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_sections.metadata IS 'A JSON object for what the application adds.';


--
-- Name: COLUMN report_sections.updated_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_sections.updated_at IS 'When the section''s version last changed.';


--
-- Name: COLUMN report_sections.replaced_version; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_sections.replaced_version IS 'The version that the last write found; 0: it found none; NULL: the one before.';


--
-- Name: report_version_sections; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.report_version_sections (
    run_id uuid NOT NULL,
    report_id uuid NOT NULL,
    version integer NOT NULL,
    slug text NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    "position" integer NOT NULL,
    heading text,
    content text NOT NULL,
    citations jsonb DEFAULT '[]'::jsonb NOT NULL,
    section_version integer NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT report_version_sections_citations_check CHECK ((jsonb_typeof(citations) = 'array'::text)),
    CONSTRAINT report_version_sections_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text))
);


--
-- Name: TABLE report_version_sections; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.report_version_sections IS 'A section of a published version of a report, as it was. Never changed.';


--
-- Name: COLUMN report_version_sections.version; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_version_sections.version IS 'The version of the report.';


--
-- Name: COLUMN report_version_sections.section_version; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_version_sections.section_version IS 'The version of the section.';


--
-- Name: COLUMN report_version_sections.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_version_sections.metadata IS 'The section''s metadata as it was.';


--
-- Name: report_versions; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.report_versions (
    run_id uuid NOT NULL,
    report_id uuid NOT NULL,
    version integer NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    title text NOT NULL,
    format text NOT NULL,
    summary text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    published_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT report_versions_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT report_versions_version_check CHECK ((version >= 1))
);


--
-- Name: TABLE report_versions; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.report_versions IS 'A published version of a report, as it was. Never changed.';


--
-- Name: COLUMN report_versions.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.report_versions.metadata IS 'The report''s metadata as it was.';


--
-- Name: reports; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.reports (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    title text NOT NULL,
    format text NOT NULL,
    summary text,
    status text DEFAULT 'draft'::text NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    revision bigint DEFAULT 1 NOT NULL,
    last_position integer DEFAULT 0 NOT NULL,
    published_version integer,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    published_at timestamp with time zone,
    archived_at timestamp with time zone,
    CONSTRAINT reports_archived_at_check CHECK (((archived_at IS NOT NULL) = (status = 'archived'::text))),
    CONSTRAINT reports_format_check CHECK (((char_length(format) >= 1) AND (char_length(format) <= 255))),
    CONSTRAINT reports_id_check CHECK ((OVERLAY(uuid_send(id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))),
    CONSTRAINT reports_last_position_check CHECK ((last_position >= 0)),
    CONSTRAINT reports_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT reports_published_at_check CHECK (((published_at IS NOT NULL) = (published_version IS NOT NULL))),
    CONSTRAINT reports_published_version_check CHECK ((((status = 'draft'::text) AND (COALESCE(published_version, 0) = (version - 1))) OR ((status = 'published'::text) AND (COALESCE(published_version, 0) = version)) OR ((status = 'archived'::text) AND ((COALESCE(published_version, 0) >= (version - 1)) AND (COALESCE(published_version, 0) <= version))))),
    CONSTRAINT reports_revision_check CHECK ((revision >= 1)),
    CONSTRAINT reports_status_check CHECK ((status = ANY (ARRAY['draft'::text, 'published'::text, 'archived'::text]))),
    CONSTRAINT reports_title_check CHECK (((char_length(title) >= 1) AND (char_length(title) <= 255))),
    CONSTRAINT reports_version_check CHECK ((version >= 1))
);


--
-- Name: TABLE reports; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.reports IS 'The working text of a report, but for its sections. An archived one never changes again.';


--
-- Name: COLUMN reports.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.reports.id IS 'UUIDv7 that carries its run; made by the client before its first attempt.';


--
-- Name: COLUMN reports.format; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.reports.format IS 'How its texts are marked up; the application chooses the words.';


--
-- Name: COLUMN reports.status; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.reports.status IS 'draft: may be written to; published: not before it is revised; final: archived.';


--
-- Name: COLUMN reports.version; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.reports.version IS 'The version that the working text is, or will be once it is published; from 1.';


--
-- Name: COLUMN reports.revision; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.reports.revision IS 'How often title, format, summary or sections were written; from 1. What a reviewer compares.';


--
-- Name: COLUMN reports.last_position; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.reports.last_position IS 'A position that no section of the report is behind.';


--
-- Name: COLUMN reports.published_version; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.reports.published_version IS 'The newest version in report_versions; NULL: none yet.';


--
-- Name: COLUMN reports.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.reports.metadata IS 'A JSON object for what the application adds.';


--
-- Name: COLUMN reports.updated_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.reports.updated_at IS 'When the report, one of its sections or its status last changed.';


--
-- Name: COLUMN reports.published_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.reports.published_at IS 'When published_version was published.';


--
-- Name: run_events; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.run_events (
    run_id uuid NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    payload jsonb DEFAULT '{}'::jsonb NOT NULL,
    append_id uuid,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    append_size integer,
    CONSTRAINT run_events_seq_check CHECK ((seq > 0)),
    CONSTRAINT run_events_type_check CHECK (((char_length(type) >= 1) AND (char_length(type) <= 255)))
);


--
-- Name: TABLE run_events; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.run_events IS 'One event of a run. Append-only: rows are neither changed nor deleted, before a purge or an erasure does.';


--
-- Name: COLUMN run_events.seq; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_events.seq IS 'The event''s number within its run: from 1, without gap or double, in the order of commits.';


--
-- Name: COLUMN run_events.type; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_events.type IS 'What happened. Names that start with "run." are the library''s own.';


--
-- Name: COLUMN run_events.append_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_events.append_id IS 'On the first event of an append: the caller''s id of that append, so that repeating it changes nothing.';


--
-- Name: COLUMN run_events.append_size; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_events.append_size IS 'How many events were written together: on the first event of an append that has an id, and on the event that ended the run.';


--
-- Name: run_heads; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.run_heads (
    run_id uuid NOT NULL,
    last_seq bigint DEFAULT 0 NOT NULL,
    closed boolean DEFAULT false NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT run_heads_last_seq_check CHECK ((last_seq >= 0))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.02');


--
-- Name: TABLE run_heads; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.run_heads IS 'The hot, narrow row of a run: whoever changes the run''s status or log locks it first. It has no index but its key, so that its updates stay within the page (HOT).';


--
-- Name: COLUMN run_heads.last_seq; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_heads.last_seq IS 'The number of the run''s newest event; 0: none yet.';


--
-- Name: COLUMN run_heads.closed; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_heads.closed IS 'True when the run''s status is final: nothing is appended any more.';


--
-- Name: COLUMN run_heads.heartbeat_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_heads.heartbeat_at IS 'The last sign of life: a heartbeat, an append or a change of status.';


--
-- Name: run_holds; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.run_holds (
    run_id uuid NOT NULL,
    reason text NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    held_by text,
    expires_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT run_holds_held_by_check CHECK (((char_length(held_by) >= 1) AND (char_length(held_by) <= 255))),
    CONSTRAINT run_holds_reason_check CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 255)))
);


--
-- Name: TABLE run_holds; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.run_holds IS 'A reason to keep a run: while it has one, the run is not deleted and nothing of it is purged or erased.';


--
-- Name: COLUMN run_holds.reason; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_holds.reason IS 'Why the run is kept; each reason is released by itself.';


--
-- Name: COLUMN run_holds.held_by; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_holds.held_by IS 'Who wants it kept; the application chooses.';


--
-- Name: COLUMN run_holds.expires_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_holds.expires_at IS 'From when on the hold keeps nothing; NULL: until it is released.';


--
-- Name: run_segments; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.run_segments (
    run_id uuid NOT NULL,
    source_run_id uuid NOT NULL,
    from_seq bigint NOT NULL,
    to_seq bigint NOT NULL,
    CONSTRAINT run_segments_from_seq_check CHECK ((from_seq >= 1)),
    CONSTRAINT run_segments_to_seq_check CHECK ((to_seq >= from_seq))
);


--
-- Name: TABLE run_segments; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.run_segments IS 'A stretch of another run''s log that a fork reads before its own events. The other run cannot be deleted while it is needed.';


--
-- Name: COLUMN run_segments.run_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_segments.run_id IS 'The fork.';


--
-- Name: COLUMN run_segments.source_run_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_segments.source_run_id IS 'The run in whose log the events are.';


--
-- Name: COLUMN run_segments.from_seq; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_segments.from_seq IS 'The first event of the stretch; events keep their numbers.';


--
-- Name: COLUMN run_segments.to_seq; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.run_segments.to_seq IS 'The last event of the stretch, inclusive.';


--
-- Name: runs; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.runs (
    id uuid NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    kind text NOT NULL,
    name text,
    thread_id text,
    subject_id text,
    phase text,
    status text NOT NULL,
    input jsonb,
    output jsonb,
    error jsonb,
    exclusive boolean DEFAULT false NOT NULL,
    idempotency_key text,
    parent_run_id uuid,
    forked_from_run_id uuid,
    forked_at_seq bigint,
    trace_id text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    started_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    cancel_requested_at timestamp with time zone,
    finished_at timestamp with time zone,
    purged_seq bigint,
    events_purged_at timestamp with time zone,
    CONSTRAINT runs_exclusive_check CHECK (((NOT exclusive) OR (thread_id IS NOT NULL))),
    CONSTRAINT runs_finished_at_check CHECK (((finished_at IS NOT NULL) = (status = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text])))),
    CONSTRAINT runs_forked_at_seq_check CHECK (((forked_at_seq >= 0) AND ((forked_at_seq IS NULL) = (forked_from_run_id IS NULL)))),
    CONSTRAINT runs_id_check CHECK ((SUBSTRING(uuid_send(id) FROM 11) = '\x000000000000'::bytea)),
    CONSTRAINT runs_idempotency_key_check CHECK (((char_length(idempotency_key) >= 1) AND (char_length(idempotency_key) <= 255))),
    CONSTRAINT runs_kind_check CHECK ((kind = ANY (ARRAY['feature'::text, 'chat'::text]))),
    CONSTRAINT runs_kind_name_check CHECK (((kind <> 'feature'::text) OR (name IS NOT NULL))),
    CONSTRAINT runs_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT runs_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 255))),
    CONSTRAINT runs_parent_run_id_check CHECK ((parent_run_id <> id)),
    CONSTRAINT runs_phase_check CHECK (((char_length(phase) >= 1) AND (char_length(phase) <= 255))),
    CONSTRAINT runs_started_at_check CHECK (((status <> 'running'::text) OR (started_at IS NOT NULL))),
    CONSTRAINT runs_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'running'::text, 'completed'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT runs_subject_id_check CHECK (((char_length(subject_id) >= 1) AND (char_length(subject_id) <= 255))),
    CONSTRAINT runs_tenant_id_check CHECK (((char_length(tenant_id) >= 1) AND (char_length(tenant_id) <= 255))),
    CONSTRAINT runs_thread_id_check CHECK (((char_length(thread_id) >= 1) AND (char_length(thread_id) <= 255))),
    CONSTRAINT runs_trace_id_check CHECK (((char_length(trace_id) >= 1) AND (char_length(trace_id) <= 255)))
);


--
-- Name: TABLE runs; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.runs IS 'A feature run (a pipeline) or a chat run. A run in a final status never changes again.';


--
-- Name: COLUMN runs.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.id IS 'UUIDv7 whose last 48 bits are zero; made by the client before its first attempt.';


--
-- Name: COLUMN runs.tenant_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.tenant_id IS 'Whose run it is; its children carry the same.';


--
-- Name: COLUMN runs.kind; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.kind IS 'feature: a pipeline with phases; chat: a turn of a conversation.';


--
-- Name: COLUMN runs.name; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.name IS 'What the pipeline is called; many runs share it.';


--
-- Name: COLUMN runs.thread_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.thread_id IS 'The conversation to which the run belongs.';


--
-- Name: COLUMN runs.subject_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.subject_id IS 'Who the run is for: a user, a team; the application chooses.';


--
-- Name: COLUMN runs.phase; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.phase IS 'The phase that a feature run is in.';


--
-- Name: COLUMN runs.status; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.status IS 'pending, running; final: completed, failed, cancelled.';


--
-- Name: COLUMN runs.input; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.input IS 'What the run was asked; NULL: nothing.';


--
-- Name: COLUMN runs.output; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.output IS 'What the run answered; NULL: nothing.';


--
-- Name: COLUMN runs.error; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.error IS 'Why the run failed or was cancelled; NULL: nothing was said.';


--
-- Name: COLUMN runs.exclusive; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.exclusive IS 'True: no other exclusive run of the thread may be active at once.';


--
-- Name: COLUMN runs.idempotency_key; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.idempotency_key IS 'The caller''s own key; unique per tenant.';


--
-- Name: COLUMN runs.parent_run_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.parent_run_id IS 'The run that started this one. No foreign key: a child may outlive its parent.';


--
-- Name: COLUMN runs.forked_from_run_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.forked_from_run_id IS 'The run whose log this one continues.';


--
-- Name: COLUMN runs.forked_at_seq; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.forked_at_seq IS 'The last event, inclusive, that a fork shares with its origin.';


--
-- Name: COLUMN runs.trace_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.trace_id IS 'The trace (W3C Trace Context) in which the run was made.';


--
-- Name: COLUMN runs.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.metadata IS 'A JSON object for what the application adds.';


--
-- Name: COLUMN runs.updated_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.updated_at IS 'When the status, the phase or the cancel flag last changed.';


--
-- Name: COLUMN runs.cancel_requested_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.cancel_requested_at IS 'When somebody asked the run to stop; the run itself decides when it does.';


--
-- Name: COLUMN runs.purged_seq; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.purged_seq IS 'The run''s own events up to this number are gone, but for those that a fork reads; NULL: none is.';


--
-- Name: COLUMN runs.events_purged_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.runs.events_purged_at IS 'When the last of the run''s events was purged; NULL: the log is whole, or its purge is under way.';


--
-- Name: sandboxes; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.sandboxes (
    run_id uuid NOT NULL,
    id text NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    provider text,
    template text,
    status text DEFAULT 'creating'::text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    terminated_at timestamp with time zone,
    CONSTRAINT sandboxes_id_check CHECK (((char_length(id) >= 1) AND (char_length(id) <= 255))),
    CONSTRAINT sandboxes_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT sandboxes_provider_check CHECK (((char_length(provider) >= 1) AND (char_length(provider) <= 255))),
    CONSTRAINT sandboxes_status_check CHECK ((status = ANY (ARRAY['creating'::text, 'running'::text, 'paused'::text, 'stopped'::text, 'failed'::text]))),
    CONSTRAINT sandboxes_template_check CHECK (((char_length(template) >= 1) AND (char_length(template) <= 255))),
    CONSTRAINT sandboxes_terminated_at_check CHECK (((terminated_at IS NOT NULL) = (status = ANY (ARRAY['stopped'::text, 'failed'::text]))))
);


--
-- Name: TABLE sandboxes; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.sandboxes IS 'An isolated machine in which a run works. A stopped or failed one never changes again.';


--
-- Name: COLUMN sandboxes.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.sandboxes.id IS 'The provider''s id; the same machine has one row for each run that uses it.';


--
-- Name: COLUMN sandboxes.provider; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.sandboxes.provider IS 'Who runs the machine.';


--
-- Name: COLUMN sandboxes.template; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.sandboxes.template IS 'The image or template that the machine was made from.';


--
-- Name: COLUMN sandboxes.status; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.sandboxes.status IS 'creating, running, paused; final: stopped, failed.';


--
-- Name: COLUMN sandboxes.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.sandboxes.metadata IS 'A JSON object for what the application adds.';


--
-- Name: snapshots; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.snapshots (
    run_id uuid NOT NULL,
    id text NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    sandbox_id text NOT NULL,
    phase text,
    parent_snapshot_id text,
    size_bytes bigint,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT snapshots_id_check CHECK (((char_length(id) >= 1) AND (char_length(id) <= 255))),
    CONSTRAINT snapshots_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT snapshots_parent_snapshot_id_check CHECK ((parent_snapshot_id <> id)),
    CONSTRAINT snapshots_phase_check CHECK (((char_length(phase) >= 1) AND (char_length(phase) <= 255))),
    CONSTRAINT snapshots_size_bytes_check CHECK ((size_bytes >= 0))
);


--
-- Name: TABLE snapshots; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.snapshots IS 'A saved state of a sandbox.';


--
-- Name: COLUMN snapshots.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.snapshots.id IS 'The provider''s id of the saved state.';


--
-- Name: COLUMN snapshots.phase; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.snapshots.phase IS 'The phase at whose end, or within which, it was taken.';


--
-- Name: COLUMN snapshots.parent_snapshot_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.snapshots.parent_snapshot_id IS 'The snapshot of the same run on which this one builds.';


--
-- Name: COLUMN snapshots.size_bytes; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.snapshots.size_bytes IS 'Its size in bytes; NULL: not reported.';


--
-- Name: COLUMN snapshots.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.snapshots.metadata IS 'A JSON object for what the application adds.';


--
-- Name: tool_calls; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.tool_calls (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    invocation_id uuid NOT NULL,
    step_id uuid,
    provider_call_id text,
    name text NOT NULL,
    arguments jsonb,
    status text DEFAULT 'open'::text NOT NULL,
    result jsonb,
    error jsonb,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT tool_calls_finished_at_check CHECK (((finished_at IS NOT NULL) = (status <> 'open'::text))),
    CONSTRAINT tool_calls_id_check CHECK ((OVERLAY(uuid_send(id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))),
    CONSTRAINT tool_calls_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT tool_calls_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 255))),
    CONSTRAINT tool_calls_provider_call_id_check CHECK (((char_length(provider_call_id) >= 1) AND (char_length(provider_call_id) <= 255))),
    CONSTRAINT tool_calls_status_check CHECK ((status = ANY (ARRAY['open'::text, 'completed'::text, 'failed'::text, 'denied'::text, 'unknown'::text])))
);


--
-- Name: TABLE tool_calls; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.tool_calls IS 'One call of a tool: written open before the tool runs, finished after. A finished one never changes again.';


--
-- Name: COLUMN tool_calls.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.tool_calls.id IS 'UUIDv7 that carries its run; made by the client before its first attempt.';


--
-- Name: COLUMN tool_calls.provider_call_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.tool_calls.provider_call_id IS 'The model provider''s id of the call; unique within its invocation.';


--
-- Name: COLUMN tool_calls.name; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.tool_calls.name IS 'The tool''s name.';


--
-- Name: COLUMN tool_calls.status; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.tool_calls.status IS 'open; final: completed, failed, denied (it was not allowed to run), unknown (nobody learnt its outcome).';


--
-- Name: COLUMN tool_calls.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.tool_calls.metadata IS 'A JSON object for what the application adds.';


--
-- Name: usage_counters; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.usage_counters (
    tenant_id text NOT NULL,
    subject_id text NOT NULL,
    quota_id uuid NOT NULL,
    window_start timestamp with time zone NOT NULL,
    carried bigint DEFAULT 0 NOT NULL,
    used bigint DEFAULT 0 NOT NULL,
    held bigint DEFAULT 0 NOT NULL,
    CONSTRAINT usage_counters_held_check CHECK ((held >= 0))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.02');


--
-- Name: TABLE usage_counters; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.usage_counters IS 'The hot, narrow row of a quota''s window. It has no index but its key, so that its updates stay within the page (HOT). Whoever changes counters locks them in the order of the key.';


--
-- Name: COLUMN usage_counters.window_start; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_counters.window_start IS 'When the window began; -infinity for a total.';


--
-- Name: COLUMN usage_counters.carried; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_counters.carried IS 'What was used in the window and has no entry in the log that is counted here: before the quota was made, or in entries that were purged.';


--
-- Name: COLUMN usage_counters.used; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_counters.used IS 'carried and the sum of what the log has counted here. Corrections may take it below 0.';


--
-- Name: COLUMN usage_counters.held; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_counters.held IS 'The sum of the open holds.';


--
-- Name: usage_logs; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.usage_logs (
    id uuid NOT NULL,
    meter text NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    subject_id text NOT NULL,
    amount bigint NOT NULL,
    cost_nanousd bigint,
    run_id uuid,
    invocation_id uuid,
    tool_call_id uuid,
    provider text,
    model text,
    quota_ids uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    window_starts timestamp with time zone[] DEFAULT '{}'::timestamp with time zone[] NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT usage_logs_cost_nanousd_check CHECK (((sign((cost_nanousd)::double precision) * sign((amount)::double precision)) >= (0)::double precision)),
    CONSTRAINT usage_logs_invocation_id_check CHECK (((invocation_id IS NULL) OR ((run_id IS NOT NULL) AND (OVERLAY(uuid_send(invocation_id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))))),
    CONSTRAINT usage_logs_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT usage_logs_meter_check CHECK (((char_length(meter) >= 1) AND (char_length(meter) <= 255))),
    CONSTRAINT usage_logs_meter_cost_nanousd_check CHECK (((meter <> 'cost_nanousd'::text) OR (cost_nanousd IS NULL))),
    CONSTRAINT usage_logs_model_check CHECK (((char_length(model) >= 1) AND (char_length(model) <= 255))),
    CONSTRAINT usage_logs_provider_check CHECK (((char_length(provider) >= 1) AND (char_length(provider) <= 255))),
    CONSTRAINT usage_logs_run_id_check CHECK ((SUBSTRING(uuid_send(run_id) FROM 11) = '\x000000000000'::bytea)),
    CONSTRAINT usage_logs_subject_id_check CHECK (((char_length(subject_id) >= 1) AND (char_length(subject_id) <= 255))),
    CONSTRAINT usage_logs_tenant_id_check CHECK (((char_length(tenant_id) >= 1) AND (char_length(tenant_id) <= 255))),
    CONSTRAINT usage_logs_tool_call_id_check CHECK (((tool_call_id IS NULL) OR ((run_id IS NOT NULL) AND (OVERLAY(uuid_send(tool_call_id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))))),
    CONSTRAINT usage_logs_window_starts_check CHECK ((cardinality(window_starts) = cardinality(quota_ids)))
);


--
-- Name: TABLE usage_logs; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.usage_logs IS 'What a subject used of one meter. Rows are never changed, but for the subject and the metadata of one that is erased; a correction is a row with a negative amount. What was not reported has no row, and is not 0.';


--
-- Name: COLUMN usage_logs.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.id IS 'UUIDv7 made by the client before its first attempt: the reservation''s that was settled, or one of its own. The rows of all meters that were logged at once share it.';


--
-- Name: COLUMN usage_logs.meter; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.meter IS 'What was counted. input_tokens includes cache_read_tokens and cache_write_tokens, and output_tokens includes reasoning_tokens: the parts stand in rows of their own and are not added to the whole. cost_nanousd is money.';


--
-- Name: COLUMN usage_logs.subject_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.subject_id IS 'Who used it: a user, a team, a tenant; the application chooses.';


--
-- Name: COLUMN usage_logs.amount; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.amount IS 'How much, in the meter''s own unit; negative in a correction.';


--
-- Name: COLUMN usage_logs.cost_nanousd; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.cost_nanousd IS 'What this amount cost, in 1e-9 USD; NULL: unpriced, never 0 for that. NULL on the meter cost_nanousd too, whose amount is the cost: it would be counted twice.';


--
-- Name: COLUMN usage_logs.run_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.run_id IS 'The run that used it. No foreign key: a bill outlives its run.';


--
-- Name: COLUMN usage_logs.invocation_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.invocation_id IS 'The invocation that used it. No foreign key.';


--
-- Name: COLUMN usage_logs.tool_call_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.tool_call_id IS 'The tool call that used it. No foreign key.';


--
-- Name: COLUMN usage_logs.provider; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.provider IS 'Who served the model.';


--
-- Name: COLUMN usage_logs.model; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.model IS 'The model, as its provider names it.';


--
-- Name: COLUMN usage_logs.quota_ids; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.quota_ids IS 'The quotas in whose counters the amount is; each stands in the same place as its window.';


--
-- Name: COLUMN usage_logs.window_starts; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.window_starts IS 'The windows in whose counters the amount is: of a settled hold, those that it was held against.';


--
-- Name: COLUMN usage_logs.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_logs.metadata IS 'A JSON object for what the application adds.';


--
-- Name: usage_reservations; Type: TABLE; Schema: runstore; Owner: -
--

CREATE TABLE runstore.usage_reservations (
    id uuid NOT NULL,
    tenant_id text DEFAULT runstore.current_tenant_id() NOT NULL,
    subject_id text NOT NULL,
    amounts jsonb NOT NULL,
    quota_ids uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    window_starts timestamp with time zone[] DEFAULT '{}'::timestamp with time zone[] NOT NULL,
    held_amounts bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    status text DEFAULT 'held'::text NOT NULL,
    run_id uuid,
    invocation_id uuid,
    tool_call_id uuid,
    provider text,
    model text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT usage_reservations_amounts_check CHECK ((jsonb_typeof(amounts) = 'object'::text)),
    CONSTRAINT usage_reservations_finished_at_check CHECK (((finished_at IS NOT NULL) = (status <> 'held'::text))),
    CONSTRAINT usage_reservations_held_amounts_check CHECK (((cardinality(held_amounts) = cardinality(quota_ids)) AND (0 <= ALL (held_amounts)))),
    CONSTRAINT usage_reservations_invocation_id_check CHECK (((invocation_id IS NULL) OR ((run_id IS NOT NULL) AND (OVERLAY(uuid_send(invocation_id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))))),
    CONSTRAINT usage_reservations_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT usage_reservations_model_check CHECK (((char_length(model) >= 1) AND (char_length(model) <= 255))),
    CONSTRAINT usage_reservations_provider_check CHECK (((char_length(provider) >= 1) AND (char_length(provider) <= 255))),
    CONSTRAINT usage_reservations_run_id_check CHECK ((SUBSTRING(uuid_send(run_id) FROM 11) = '\x000000000000'::bytea)),
    CONSTRAINT usage_reservations_status_check CHECK ((status = ANY (ARRAY['held'::text, 'settled'::text, 'released'::text, 'expired'::text]))),
    CONSTRAINT usage_reservations_subject_id_check CHECK (((char_length(subject_id) >= 1) AND (char_length(subject_id) <= 255))),
    CONSTRAINT usage_reservations_tenant_id_check CHECK (((char_length(tenant_id) >= 1) AND (char_length(tenant_id) <= 255))),
    CONSTRAINT usage_reservations_tool_call_id_check CHECK (((tool_call_id IS NULL) OR ((run_id IS NOT NULL) AND (OVERLAY(uuid_send(tool_call_id) PLACING '\x000000000000'::bytea FROM 11) = uuid_send(run_id))))),
    CONSTRAINT usage_reservations_window_starts_check CHECK ((cardinality(window_starts) = cardinality(quota_ids)))
);


--
-- Name: TABLE usage_reservations; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON TABLE runstore.usage_reservations IS 'A hold on what a subject is about to use, with an expiry, so that a dead worker holds nothing for ever. One that is settled or released never changes again; it stays, so that a repeated call finds it.';


--
-- Name: COLUMN usage_reservations.id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_reservations.id IS 'UUIDv7 made by the client before its first attempt; it carries the run where there is one. The key starts with it, since whoever settles knows nothing else.';


--
-- Name: COLUMN usage_reservations.amounts; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_reservations.amounts IS 'A JSON object: how much was asked for, by meter.';


--
-- Name: COLUMN usage_reservations.quota_ids; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_reservations.quota_ids IS 'The quotas that it was held against; each stands in the same place as its window and its amount.';


--
-- Name: COLUMN usage_reservations.window_starts; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_reservations.window_starts IS 'The windows that it was held against.';


--
-- Name: COLUMN usage_reservations.held_amounts; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_reservations.held_amounts IS 'What was held, in each quota''s unit.';


--
-- Name: COLUMN usage_reservations.status; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_reservations.status IS 'held: open; expired: given back, and may still be settled; final: settled (logged), released (nothing used).';


--
-- Name: COLUMN usage_reservations.run_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_reservations.run_id IS 'The run that it is for. No foreign key: a bill outlives its run.';


--
-- Name: COLUMN usage_reservations.invocation_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_reservations.invocation_id IS 'The invocation that it is for. No foreign key.';


--
-- Name: COLUMN usage_reservations.tool_call_id; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_reservations.tool_call_id IS 'The tool call that it is for. No foreign key.';


--
-- Name: COLUMN usage_reservations.metadata; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_reservations.metadata IS 'A JSON object for what the application adds.';


--
-- Name: COLUMN usage_reservations.expires_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_reservations.expires_at IS 'When an open hold may be given back, unless it is renewed before.';


--
-- Name: COLUMN usage_reservations.finished_at; Type: COMMENT; Schema: runstore; Owner: -
--

COMMENT ON COLUMN runstore.usage_reservations.finished_at IS 'When it was settled, released or expired; NULL while it is held.';


--
-- Name: agent_invocations agent_invocations_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.agent_invocations
    ADD CONSTRAINT agent_invocations_pkey PRIMARY KEY (run_id, id);


--
-- Name: agent_steps agent_steps_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.agent_steps
    ADD CONSTRAINT agent_steps_pkey PRIMARY KEY (run_id, id);


--
-- Name: agent_steps agent_steps_run_id_invocation_id_position_key; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.agent_steps
    ADD CONSTRAINT agent_steps_run_id_invocation_id_position_key UNIQUE (run_id, invocation_id, "position");


--
-- Name: branch_reports branch_reports_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.branch_reports
    ADD CONSTRAINT branch_reports_pkey PRIMARY KEY (run_id, id);


--
-- Name: branch_reports branch_reports_run_id_report_id_name_key; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.branch_reports
    ADD CONSTRAINT branch_reports_run_id_report_id_name_key UNIQUE (run_id, report_id, name);


--
-- Name: branch_sections branch_sections_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.branch_sections
    ADD CONSTRAINT branch_sections_pkey PRIMARY KEY (run_id, branch_id, slug);


--
-- Name: cta_events cta_events_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.cta_events
    ADD CONSTRAINT cta_events_pkey PRIMARY KEY (run_id, id);


--
-- Name: memory_records memory_records_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.memory_records
    ADD CONSTRAINT memory_records_pkey PRIMARY KEY (run_id, id);


--
-- Name: phase_results phase_results_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.phase_results
    ADD CONSTRAINT phase_results_pkey PRIMARY KEY (run_id, id);


--
-- Name: phase_results phase_results_run_id_phase_attempt_key; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.phase_results
    ADD CONSTRAINT phase_results_run_id_phase_attempt_key UNIQUE (run_id, phase, attempt);


--
-- Name: prices prices_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.prices
    ADD CONSTRAINT prices_pkey PRIMARY KEY (provider, model, meter, valid_from);


--
-- Name: quotas quotas_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.quotas
    ADD CONSTRAINT quotas_pkey PRIMARY KEY (tenant_id, subject_id, id);


--
-- Name: quotas quotas_tenant_id_subject_id_meter_period_key; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.quotas
    ADD CONSTRAINT quotas_tenant_id_subject_id_meter_period_key UNIQUE (tenant_id, subject_id, meter, period);


--
-- Name: report_sections report_sections_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.report_sections
    ADD CONSTRAINT report_sections_pkey PRIMARY KEY (run_id, id);


--
-- Name: report_sections report_sections_run_id_report_id_slug_key; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.report_sections
    ADD CONSTRAINT report_sections_run_id_report_id_slug_key UNIQUE (run_id, report_id, slug);


--
-- Name: report_version_sections report_version_sections_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.report_version_sections
    ADD CONSTRAINT report_version_sections_pkey PRIMARY KEY (run_id, report_id, version, slug);


--
-- Name: report_versions report_versions_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.report_versions
    ADD CONSTRAINT report_versions_pkey PRIMARY KEY (run_id, report_id, version);


--
-- Name: reports reports_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.reports
    ADD CONSTRAINT reports_pkey PRIMARY KEY (run_id, id);


--
-- Name: run_events run_events_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.run_events
    ADD CONSTRAINT run_events_pkey PRIMARY KEY (run_id, seq);


--
-- Name: run_heads run_heads_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.run_heads
    ADD CONSTRAINT run_heads_pkey PRIMARY KEY (run_id);


--
-- Name: run_holds run_holds_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.run_holds
    ADD CONSTRAINT run_holds_pkey PRIMARY KEY (run_id, reason);


--
-- Name: run_segments run_segments_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.run_segments
    ADD CONSTRAINT run_segments_pkey PRIMARY KEY (run_id, from_seq);


--
-- Name: runs runs_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (id);


--
-- Name: sandboxes sandboxes_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.sandboxes
    ADD CONSTRAINT sandboxes_pkey PRIMARY KEY (run_id, id);


--
-- Name: snapshots snapshots_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.snapshots
    ADD CONSTRAINT snapshots_pkey PRIMARY KEY (run_id, id);


--
-- Name: tool_calls tool_calls_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.tool_calls
    ADD CONSTRAINT tool_calls_pkey PRIMARY KEY (run_id, id);


--
-- Name: tool_calls tool_calls_run_id_invocation_id_provider_call_id_key; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.tool_calls
    ADD CONSTRAINT tool_calls_run_id_invocation_id_provider_call_id_key UNIQUE (run_id, invocation_id, provider_call_id);


--
-- Name: usage_counters usage_counters_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.usage_counters
    ADD CONSTRAINT usage_counters_pkey PRIMARY KEY (tenant_id, subject_id, quota_id, window_start);


--
-- Name: usage_logs usage_logs_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.usage_logs
    ADD CONSTRAINT usage_logs_pkey PRIMARY KEY (id, meter, tenant_id, subject_id);


--
-- Name: usage_reservations usage_reservations_pkey; Type: CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.usage_reservations
    ADD CONSTRAINT usage_reservations_pkey PRIMARY KEY (id, tenant_id, subject_id);


--
-- Name: agent_invocations_run_id_parent_invocation_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX agent_invocations_run_id_parent_invocation_id_idx ON runstore.agent_invocations USING btree (run_id, parent_invocation_id) WHERE (parent_invocation_id IS NOT NULL);


--
-- Name: agent_invocations_run_id_phase_result_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX agent_invocations_run_id_phase_result_id_idx ON runstore.agent_invocations USING btree (run_id, phase_result_id) WHERE (phase_result_id IS NOT NULL);


--
-- Name: branch_reports_report_id_created_at_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX branch_reports_report_id_created_at_id_idx ON runstore.branch_reports USING btree (report_id, created_at, id);


--
-- Name: cta_events_expires_at_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX cta_events_expires_at_idx ON runstore.cta_events USING btree (expires_at) WHERE (status = 'pending'::text);


--
-- Name: cta_events_run_id_invocation_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX cta_events_run_id_invocation_id_idx ON runstore.cta_events USING btree (run_id, invocation_id) WHERE (invocation_id IS NOT NULL);


--
-- Name: cta_events_run_id_tool_call_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX cta_events_run_id_tool_call_id_idx ON runstore.cta_events USING btree (run_id, tool_call_id) WHERE (tool_call_id IS NOT NULL);


--
-- Name: cta_events_run_id_tool_call_id_key; Type: INDEX; Schema: runstore; Owner: -
--

CREATE UNIQUE INDEX cta_events_run_id_tool_call_id_key ON runstore.cta_events USING btree (run_id, tool_call_id) WHERE ((tool_call_id IS NOT NULL) AND (status = 'pending'::text));


--
-- Name: cta_events_tenant_id_created_at_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX cta_events_tenant_id_created_at_id_idx ON runstore.cta_events USING btree (tenant_id, created_at, id) WHERE (status = 'pending'::text);


--
-- Name: cta_events_tenant_id_resolved_by_run_id_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX cta_events_tenant_id_resolved_by_run_id_id_idx ON runstore.cta_events USING btree (tenant_id, resolved_by, run_id, id) WHERE (resolved_by IS NOT NULL);


--
-- Name: reports_tenant_id_created_at_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX reports_tenant_id_created_at_id_idx ON runstore.reports USING btree (tenant_id, created_at, id);


--
-- Name: run_events_run_id_append_id_key; Type: INDEX; Schema: runstore; Owner: -
--

CREATE UNIQUE INDEX run_events_run_id_append_id_key ON runstore.run_events USING btree (run_id, append_id) WHERE (append_id IS NOT NULL);


--
-- Name: run_holds_tenant_id_run_id_reason_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX run_holds_tenant_id_run_id_reason_idx ON runstore.run_holds USING btree (tenant_id, run_id, reason);


--
-- Name: run_segments_source_run_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX run_segments_source_run_id_idx ON runstore.run_segments USING btree (source_run_id);


--
-- Name: runs_forked_from_run_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX runs_forked_from_run_id_idx ON runstore.runs USING btree (forked_from_run_id) WHERE (forked_from_run_id IS NOT NULL);


--
-- Name: runs_parent_run_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX runs_parent_run_id_idx ON runstore.runs USING btree (parent_run_id) WHERE (parent_run_id IS NOT NULL);


--
-- Name: runs_tenant_id_finished_at_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX runs_tenant_id_finished_at_id_idx ON runstore.runs USING btree (tenant_id, finished_at, id) INCLUDE (events_purged_at) WHERE (finished_at IS NOT NULL);


--
-- Name: runs_tenant_id_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX runs_tenant_id_id_idx ON runstore.runs USING btree (tenant_id, id);


--
-- Name: runs_tenant_id_idempotency_key_key; Type: INDEX; Schema: runstore; Owner: -
--

CREATE UNIQUE INDEX runs_tenant_id_idempotency_key_key ON runstore.runs USING btree (tenant_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);


--
-- Name: runs_tenant_id_name_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX runs_tenant_id_name_id_idx ON runstore.runs USING btree (tenant_id, name, id) WHERE (name IS NOT NULL);


--
-- Name: runs_tenant_id_status_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX runs_tenant_id_status_id_idx ON runstore.runs USING btree (tenant_id, status, id) WHERE (status = ANY (ARRAY['pending'::text, 'running'::text]));


--
-- Name: runs_tenant_id_subject_id_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX runs_tenant_id_subject_id_id_idx ON runstore.runs USING btree (tenant_id, subject_id, id) WHERE (subject_id IS NOT NULL);


--
-- Name: runs_tenant_id_thread_id_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX runs_tenant_id_thread_id_id_idx ON runstore.runs USING btree (tenant_id, thread_id, id) WHERE (thread_id IS NOT NULL);


--
-- Name: runs_tenant_id_thread_id_key; Type: INDEX; Schema: runstore; Owner: -
--

CREATE UNIQUE INDEX runs_tenant_id_thread_id_key ON runstore.runs USING btree (tenant_id, thread_id) WHERE (exclusive AND (status = ANY (ARRAY['pending'::text, 'running'::text])));


--
-- Name: sandboxes_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX sandboxes_id_idx ON runstore.sandboxes USING btree (id);


--
-- Name: snapshots_run_id_parent_snapshot_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX snapshots_run_id_parent_snapshot_id_idx ON runstore.snapshots USING btree (run_id, parent_snapshot_id) WHERE (parent_snapshot_id IS NOT NULL);


--
-- Name: snapshots_run_id_sandbox_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX snapshots_run_id_sandbox_id_idx ON runstore.snapshots USING btree (run_id, sandbox_id);


--
-- Name: tool_calls_run_id_open_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX tool_calls_run_id_open_idx ON runstore.tool_calls USING btree (run_id) WHERE (status = 'open'::text);


--
-- Name: tool_calls_run_id_step_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX tool_calls_run_id_step_id_idx ON runstore.tool_calls USING btree (run_id, step_id) WHERE (step_id IS NOT NULL);


--
-- Name: usage_logs_tenant_id_subject_id_created_at_id_meter_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX usage_logs_tenant_id_subject_id_created_at_id_meter_idx ON runstore.usage_logs USING btree (tenant_id, subject_id, created_at, id, meter) INCLUDE (amount, cost_nanousd, provider, model, run_id);


--
-- Name: usage_reservations_expires_at_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX usage_reservations_expires_at_idx ON runstore.usage_reservations USING btree (expires_at) WHERE (status = 'held'::text);


--
-- Name: usage_reservations_tenant_id_finished_at_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX usage_reservations_tenant_id_finished_at_id_idx ON runstore.usage_reservations USING btree (tenant_id, finished_at, id) WHERE (finished_at IS NOT NULL);


--
-- Name: usage_reservations_tenant_id_subject_id_idx; Type: INDEX; Schema: runstore; Owner: -
--

CREATE INDEX usage_reservations_tenant_id_subject_id_idx ON runstore.usage_reservations USING btree (tenant_id, subject_id) WHERE (status = 'held'::text);


--
-- Name: agent_invocations agent_invocations_run_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.agent_invocations
    ADD CONSTRAINT agent_invocations_run_id_fkey FOREIGN KEY (run_id) REFERENCES runstore.runs(id) ON DELETE CASCADE;


--
-- Name: agent_invocations agent_invocations_run_id_parent_invocation_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.agent_invocations
    ADD CONSTRAINT agent_invocations_run_id_parent_invocation_id_fkey FOREIGN KEY (run_id, parent_invocation_id) REFERENCES runstore.agent_invocations(run_id, id) ON DELETE CASCADE;


--
-- Name: agent_invocations agent_invocations_run_id_phase_result_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.agent_invocations
    ADD CONSTRAINT agent_invocations_run_id_phase_result_id_fkey FOREIGN KEY (run_id, phase_result_id) REFERENCES runstore.phase_results(run_id, id) ON DELETE CASCADE;


--
-- Name: agent_steps agent_steps_run_id_invocation_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.agent_steps
    ADD CONSTRAINT agent_steps_run_id_invocation_id_fkey FOREIGN KEY (run_id, invocation_id) REFERENCES runstore.agent_invocations(run_id, id) ON DELETE CASCADE;


--
-- Name: branch_reports branch_reports_run_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.branch_reports
    ADD CONSTRAINT branch_reports_run_id_fkey FOREIGN KEY (run_id) REFERENCES runstore.runs(id) ON DELETE CASCADE;


--
-- Name: branch_sections branch_sections_run_id_branch_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.branch_sections
    ADD CONSTRAINT branch_sections_run_id_branch_id_fkey FOREIGN KEY (run_id, branch_id) REFERENCES runstore.branch_reports(run_id, id) ON DELETE CASCADE;


--
-- Name: cta_events cta_events_run_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.cta_events
    ADD CONSTRAINT cta_events_run_id_fkey FOREIGN KEY (run_id) REFERENCES runstore.runs(id) ON DELETE CASCADE;


--
-- Name: cta_events cta_events_run_id_invocation_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.cta_events
    ADD CONSTRAINT cta_events_run_id_invocation_id_fkey FOREIGN KEY (run_id, invocation_id) REFERENCES runstore.agent_invocations(run_id, id) ON DELETE CASCADE;


--
-- Name: cta_events cta_events_run_id_tool_call_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.cta_events
    ADD CONSTRAINT cta_events_run_id_tool_call_id_fkey FOREIGN KEY (run_id, tool_call_id) REFERENCES runstore.tool_calls(run_id, id) ON DELETE CASCADE;


--
-- Name: memory_records memory_records_run_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.memory_records
    ADD CONSTRAINT memory_records_run_id_fkey FOREIGN KEY (run_id) REFERENCES runstore.runs(id) ON DELETE CASCADE;


--
-- Name: phase_results phase_results_run_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.phase_results
    ADD CONSTRAINT phase_results_run_id_fkey FOREIGN KEY (run_id) REFERENCES runstore.runs(id) ON DELETE CASCADE;


--
-- Name: report_sections report_sections_run_id_report_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.report_sections
    ADD CONSTRAINT report_sections_run_id_report_id_fkey FOREIGN KEY (run_id, report_id) REFERENCES runstore.reports(run_id, id) ON DELETE CASCADE;


--
-- Name: report_version_sections report_version_sections_run_id_report_id_version_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.report_version_sections
    ADD CONSTRAINT report_version_sections_run_id_report_id_version_fkey FOREIGN KEY (run_id, report_id, version) REFERENCES runstore.report_versions(run_id, report_id, version) ON DELETE CASCADE;


--
-- Name: report_versions report_versions_run_id_report_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.report_versions
    ADD CONSTRAINT report_versions_run_id_report_id_fkey FOREIGN KEY (run_id, report_id) REFERENCES runstore.reports(run_id, id) ON DELETE CASCADE;


--
-- Name: reports reports_run_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.reports
    ADD CONSTRAINT reports_run_id_fkey FOREIGN KEY (run_id) REFERENCES runstore.runs(id) ON DELETE CASCADE;


--
-- Name: run_events run_events_run_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.run_events
    ADD CONSTRAINT run_events_run_id_fkey FOREIGN KEY (run_id) REFERENCES runstore.run_heads(run_id) ON DELETE CASCADE;


--
-- Name: run_heads run_heads_run_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.run_heads
    ADD CONSTRAINT run_heads_run_id_fkey FOREIGN KEY (run_id) REFERENCES runstore.runs(id) ON DELETE CASCADE;


--
-- Name: run_holds run_holds_run_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.run_holds
    ADD CONSTRAINT run_holds_run_id_fkey FOREIGN KEY (run_id) REFERENCES runstore.runs(id) ON DELETE RESTRICT;


--
-- Name: run_segments run_segments_run_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.run_segments
    ADD CONSTRAINT run_segments_run_id_fkey FOREIGN KEY (run_id) REFERENCES runstore.runs(id) ON DELETE CASCADE;


--
-- Name: run_segments run_segments_source_run_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.run_segments
    ADD CONSTRAINT run_segments_source_run_id_fkey FOREIGN KEY (source_run_id) REFERENCES runstore.runs(id) ON DELETE RESTRICT;


--
-- Name: sandboxes sandboxes_run_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.sandboxes
    ADD CONSTRAINT sandboxes_run_id_fkey FOREIGN KEY (run_id) REFERENCES runstore.runs(id) ON DELETE CASCADE;


--
-- Name: snapshots snapshots_run_id_parent_snapshot_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.snapshots
    ADD CONSTRAINT snapshots_run_id_parent_snapshot_id_fkey FOREIGN KEY (run_id, parent_snapshot_id) REFERENCES runstore.snapshots(run_id, id) ON DELETE CASCADE;


--
-- Name: snapshots snapshots_run_id_sandbox_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.snapshots
    ADD CONSTRAINT snapshots_run_id_sandbox_id_fkey FOREIGN KEY (run_id, sandbox_id) REFERENCES runstore.sandboxes(run_id, id) ON DELETE CASCADE;


--
-- Name: tool_calls tool_calls_run_id_invocation_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.tool_calls
    ADD CONSTRAINT tool_calls_run_id_invocation_id_fkey FOREIGN KEY (run_id, invocation_id) REFERENCES runstore.agent_invocations(run_id, id) ON DELETE CASCADE;


--
-- Name: tool_calls tool_calls_run_id_step_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.tool_calls
    ADD CONSTRAINT tool_calls_run_id_step_id_fkey FOREIGN KEY (run_id, step_id) REFERENCES runstore.agent_steps(run_id, id) ON DELETE CASCADE;


--
-- Name: usage_counters usage_counters_tenant_id_subject_id_quota_id_fkey; Type: FK CONSTRAINT; Schema: runstore; Owner: -
--

ALTER TABLE ONLY runstore.usage_counters
    ADD CONSTRAINT usage_counters_tenant_id_subject_id_quota_id_fkey FOREIGN KEY (tenant_id, subject_id, quota_id) REFERENCES runstore.quotas(tenant_id, subject_id, id) ON DELETE CASCADE;
