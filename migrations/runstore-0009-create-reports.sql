-- Create the reports: what a run writes for people to read, in sections; every published version
-- as it was; and branches, in which a forked run works on sections of a report of its origin's.
--
-- A published version is a copy that no statement changes, so that the working text may go on.
-- A branch is two tables: one row for the branch, and one for each section that it changed.
-- A branch lives in the fork's tree and its report in the origin's. No foreign key leads from one
-- run to the other, so that the tables can be distributed by run_id. What protects the report is
-- that it is deleted with its run only, and that a run cannot be deleted while a fork reads its
-- events (run_segments). A branch whose report is gone all the same says so and can be discarded.
--
-- depends: runstore-0008-create-run-segments

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE TABLE runstore.reports (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    title text NOT NULL,
    format text NOT NULL,
    summary text,
    status text NOT NULL DEFAULT 'draft',
    version integer NOT NULL DEFAULT 1,
    revision bigint NOT NULL DEFAULT 1,
    last_position integer NOT NULL DEFAULT 0,
    published_version integer,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz,
    archived_at timestamptz,
    CONSTRAINT reports_pkey PRIMARY KEY (run_id, id),
    CONSTRAINT reports_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT reports_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES runstore.runs (id) ON DELETE CASCADE,
    CONSTRAINT reports_id_check CHECK (runstore.run_of(id) = run_id),
    CONSTRAINT reports_title_check CHECK (char_length(title) BETWEEN 1 AND 255),
    CONSTRAINT reports_format_check CHECK (char_length(format) BETWEEN 1 AND 255),
    CONSTRAINT reports_status_check CHECK (status IN ('draft', 'published', 'archived')),
    CONSTRAINT reports_version_check CHECK (version >= 1),
    CONSTRAINT reports_revision_check CHECK (revision >= 1),
    CONSTRAINT reports_last_position_check CHECK (last_position >= 0),
    CONSTRAINT reports_published_version_check CHECK (
        (status = 'draft' AND coalesce(published_version, 0) = version - 1)
        OR (status = 'published' AND coalesce(published_version, 0) = version)
        OR (status = 'archived' AND coalesce(published_version, 0) BETWEEN version - 1 AND version)
    ),
    CONSTRAINT reports_published_at_check CHECK (
        (published_at IS NOT NULL) = (published_version IS NOT NULL)
    ),
    CONSTRAINT reports_archived_at_check CHECK ((archived_at IS NOT NULL) = (status = 'archived'))
);
CREATE INDEX reports_tenant_id_created_at_id_idx ON runstore.reports (tenant_id, created_at, id);
COMMENT ON TABLE runstore.reports IS
    'The working text of a report, but for its sections. An archived one never changes again.';
COMMENT ON COLUMN runstore.reports.id IS 'UUIDv7 that carries its run; made by the client before its first attempt.';
COMMENT ON COLUMN runstore.reports.format IS 'How its texts are marked up; the application chooses the words.';
COMMENT ON COLUMN runstore.reports.status IS
    'draft: may be written to; published: not before it is revised; final: archived.';
COMMENT ON COLUMN runstore.reports.version IS
    'The version that the working text is, or will be once it is published; from 1.';
COMMENT ON COLUMN runstore.reports.revision IS
    'How often title, format, summary or sections were written; from 1. What a reviewer compares.';
COMMENT ON COLUMN runstore.reports.last_position IS 'A position that no section of the report is behind.';
COMMENT ON COLUMN runstore.reports.published_version IS 'The newest version in report_versions; NULL: none yet.';
COMMENT ON COLUMN runstore.reports.metadata IS 'A JSON object for what the application adds.';
COMMENT ON COLUMN runstore.reports.updated_at IS 'When the report, one of its sections or its status last changed.';
COMMENT ON COLUMN runstore.reports.published_at IS 'When published_version was published.';

CREATE TABLE runstore.report_sections (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    report_id uuid NOT NULL,
    slug text NOT NULL,
    position integer NOT NULL,
    heading text,
    content text NOT NULL,
    citations jsonb NOT NULL DEFAULT '[]',
    status text NOT NULL DEFAULT 'active',
    version integer NOT NULL DEFAULT 1,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT report_sections_pkey PRIMARY KEY (run_id, id),
    CONSTRAINT report_sections_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT report_sections_run_id_report_id_slug_key UNIQUE (run_id, report_id, slug),
    CONSTRAINT report_sections_run_id_report_id_fkey FOREIGN KEY (run_id, report_id)
        REFERENCES runstore.reports (run_id, id) ON DELETE CASCADE,
    CONSTRAINT report_sections_id_check CHECK (runstore.run_of(id) = run_id),
    CONSTRAINT report_sections_slug_check CHECK (char_length(slug) BETWEEN 1 AND 255),
    CONSTRAINT report_sections_position_check CHECK (position >= 0),
    CONSTRAINT report_sections_heading_check CHECK (char_length(heading) BETWEEN 1 AND 255),
    CONSTRAINT report_sections_citations_check CHECK (jsonb_typeof(citations) = 'array'),
    CONSTRAINT report_sections_status_check CHECK (status IN ('active', 'removed')),
    CONSTRAINT report_sections_version_check CHECK (version >= 1)
);
COMMENT ON TABLE runstore.report_sections IS
    'A section of a report''s working text. Whoever writes one locks its report first.';
COMMENT ON COLUMN runstore.report_sections.id IS 'UUIDv7 that carries its run.';
COMMENT ON COLUMN runstore.report_sections.slug IS 'The section''s name; unique within its report.';
COMMENT ON COLUMN runstore.report_sections.position IS
    'The section''s place within its report; sections of one place stand by slug.';
COMMENT ON COLUMN runstore.report_sections.citations IS
    'A JSON array of what the text cites; the application chooses the shape.';
COMMENT ON COLUMN runstore.report_sections.status IS
    'active; removed: its text is gone, and the row keeps its version from being given out again.';
COMMENT ON COLUMN runstore.report_sections.version IS
    'How often the section was written or removed; from 1, also across versions of the report.';
COMMENT ON COLUMN runstore.report_sections.metadata IS 'A JSON object for what the application adds.';
COMMENT ON COLUMN runstore.report_sections.updated_at IS 'When the section''s version last changed.';

CREATE TABLE runstore.report_versions (
    run_id uuid NOT NULL,
    report_id uuid NOT NULL,
    version integer NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    title text NOT NULL,
    format text NOT NULL,
    summary text,
    metadata jsonb NOT NULL DEFAULT '{}',
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT report_versions_pkey PRIMARY KEY (run_id, report_id, version),
    CONSTRAINT report_versions_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT report_versions_run_id_report_id_fkey FOREIGN KEY (run_id, report_id)
        REFERENCES runstore.reports (run_id, id) ON DELETE CASCADE,
    CONSTRAINT report_versions_version_check CHECK (version >= 1)
);
COMMENT ON TABLE runstore.report_versions IS 'A published version of a report, as it was. Never changed.';
COMMENT ON COLUMN runstore.report_versions.metadata IS 'The report''s metadata as it was.';

CREATE TABLE runstore.report_version_sections (
    run_id uuid NOT NULL,
    report_id uuid NOT NULL,
    version integer NOT NULL,
    slug text NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    position integer NOT NULL,
    heading text,
    content text NOT NULL,
    citations jsonb NOT NULL DEFAULT '[]',
    section_version integer NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT report_version_sections_pkey PRIMARY KEY (run_id, report_id, version, slug),
    CONSTRAINT report_version_sections_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT report_version_sections_run_id_report_id_version_fkey FOREIGN KEY (run_id, report_id, version)
        REFERENCES runstore.report_versions (run_id, report_id, version) ON DELETE CASCADE,
    CONSTRAINT report_version_sections_citations_check CHECK (jsonb_typeof(citations) = 'array')
);
COMMENT ON TABLE runstore.report_version_sections IS
    'A section of a published version of a report, as it was. Never changed.';
COMMENT ON COLUMN runstore.report_version_sections.version IS 'The version of the report.';
COMMENT ON COLUMN runstore.report_version_sections.section_version IS 'The version of the section.';
COMMENT ON COLUMN runstore.report_version_sections.metadata IS 'The section''s metadata as it was.';

CREATE TABLE runstore.branch_reports (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    report_id uuid NOT NULL,
    name text NOT NULL,
    base_version integer NOT NULL,
    status text NOT NULL DEFAULT 'open',
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    merged_at timestamptz,
    discarded_at timestamptz,
    CONSTRAINT branch_reports_pkey PRIMARY KEY (run_id, id),
    CONSTRAINT branch_reports_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT branch_reports_run_id_report_id_name_key UNIQUE (run_id, report_id, name),
    CONSTRAINT branch_reports_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES runstore.runs (id) ON DELETE CASCADE,
    CONSTRAINT branch_reports_id_check CHECK (runstore.run_of(id) = run_id),
    CONSTRAINT branch_reports_report_id_check CHECK (runstore.run_of(report_id) <> run_id),
    CONSTRAINT branch_reports_name_check CHECK (char_length(name) BETWEEN 1 AND 255),
    CONSTRAINT branch_reports_base_version_check CHECK (base_version >= 1),
    CONSTRAINT branch_reports_status_check CHECK (status IN ('open', 'merged', 'discarded')),
    CONSTRAINT branch_reports_merged_at_check CHECK ((merged_at IS NOT NULL) = (status = 'merged')),
    CONSTRAINT branch_reports_discarded_at_check CHECK (
        (discarded_at IS NOT NULL) = (status = 'discarded')
    )
);
CREATE INDEX branch_reports_report_id_created_at_id_idx
ON runstore.branch_reports (report_id, created_at, id);
COMMENT ON TABLE runstore.branch_reports IS
    'A branch of a report: what a forked run makes of it. One that is not open never changes again.';
COMMENT ON COLUMN runstore.branch_reports.run_id IS 'The forked run, to which the branch belongs.';
COMMENT ON COLUMN runstore.branch_reports.id IS
    'UUIDv7 that carries the forked run; made by the client before its first attempt.';
COMMENT ON COLUMN runstore.branch_reports.report_id IS
    'The report, which belongs to a run that this one was forked from; its id carries that run.';
COMMENT ON COLUMN runstore.branch_reports.name IS 'What the branch is called; unique per forked run and report.';
COMMENT ON COLUMN runstore.branch_reports.base_version IS 'The report''s version when the branch was made.';
COMMENT ON COLUMN runstore.branch_reports.status IS 'open; final: merged (into the report), discarded.';
COMMENT ON COLUMN runstore.branch_reports.metadata IS 'A JSON object for what the application adds.';
COMMENT ON COLUMN runstore.branch_reports.updated_at IS 'When the branch, a section of it or its status last changed.';

CREATE TABLE runstore.branch_sections (
    run_id uuid NOT NULL,
    branch_id uuid NOT NULL,
    slug text NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    section_id uuid,
    base_version integer NOT NULL,
    position integer,
    heading text,
    content text NOT NULL,
    citations jsonb NOT NULL DEFAULT '[]',
    status text NOT NULL DEFAULT 'changed',
    version integer NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT branch_sections_pkey PRIMARY KEY (run_id, branch_id, slug),
    CONSTRAINT branch_sections_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT branch_sections_run_id_branch_id_fkey FOREIGN KEY (run_id, branch_id)
        REFERENCES runstore.branch_reports (run_id, id) ON DELETE CASCADE,
    CONSTRAINT branch_sections_slug_check CHECK (char_length(slug) BETWEEN 1 AND 255),
    CONSTRAINT branch_sections_base_version_check CHECK (
        base_version >= 0 AND (base_version = 0) = (section_id IS NULL)
    ),
    CONSTRAINT branch_sections_position_check CHECK (position >= 0),
    CONSTRAINT branch_sections_heading_check CHECK (char_length(heading) BETWEEN 1 AND 255),
    CONSTRAINT branch_sections_citations_check CHECK (jsonb_typeof(citations) = 'array'),
    CONSTRAINT branch_sections_status_check CHECK (status IN ('changed', 'removed', 'reverted')),
    CONSTRAINT branch_sections_version_check CHECK (version > base_version)
);
COMMENT ON TABLE runstore.branch_sections IS
    'A section that a branch changed, removed or added; of the others it has no row and shows the report''s. '
    'Whoever writes one locks its branch first.';
COMMENT ON COLUMN runstore.branch_sections.section_id IS
    'The report''s section that the branch works on; its id carries the report''s run. NULL: a new one.';
COMMENT ON COLUMN runstore.branch_sections.base_version IS
    'The version of the report''s section that the branch works on; 0: the report had none.';
COMMENT ON COLUMN runstore.branch_sections.position IS
    'The section''s place; NULL: where the report has it, or at the end.';
COMMENT ON COLUMN runstore.branch_sections.citations IS
    'A JSON array of what the text cites; the application chooses the shape.';
COMMENT ON COLUMN runstore.branch_sections.status IS
    'changed: the text is the branch''s; removed: the branch leaves the section out; reverted: the report''s '
    'shows again, and the row keeps its version from being given out again.';
COMMENT ON COLUMN runstore.branch_sections.version IS
    'Goes on from the version of the report''s section and grows with every write of the branch.';
COMMENT ON COLUMN runstore.branch_sections.metadata IS 'A JSON object for what the application adds.';
COMMENT ON COLUMN runstore.branch_sections.updated_at IS 'When the branch last wrote the section.';
