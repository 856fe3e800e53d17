-- Drop the invocations with their steps and tool calls. Their rows are lost.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

DROP TABLE runstore.tool_calls;
DROP TABLE runstore.agent_steps;
DROP TABLE runstore.agent_invocations;
