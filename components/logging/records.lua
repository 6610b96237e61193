-- What does not leave a node: lines that tell what people asked or models answered. All others pass as they are: Lua has no
-- integers, so that a record made anew here would have other numbers.

-- Begins of what engines write about the content of requests, each with the file of vLLM 0.33.0 that does; older ones write the same.
local CONTENT = {
  "Received request ", -- vllm/entrypoints/serve/utils/request_logger.py
  " details: prompt: ", -- the same
  " JSON body: ", -- the same
  "Generated response ", -- the same
  "response_body={", -- vllm/entrypoints/serve/middleware/log_response.py
  "Received messages request ", -- vllm/entrypoints/anthropic/serving.py
  "Convert to OpenAI request ", -- the same
  "Anthropic Messages Response", -- vllm/entrypoints/anthropic/api_router.py
  "Error in create_messages", -- the same
  "Error in count_tokens", -- the same
  "Received Cohere v2 chat request", -- vllm/entrypoints/cohere/serving.py
  "Skipping malformed citation payload", -- the same
  "Error in /cohere/", -- vllm/entrypoints/cohere/api_router.py
  "RequestValidationError caught", -- vllm/entrypoints/serve/exception_handling/handlers/validation.py
  " failed validation: ", -- vllm/v1/engine/core.py
  " failed (bad request): ", -- vllm/v1/engine/async_llm.py
  " failed (input error): ", -- the same
  "Chat template rejected the request", -- vllm/renderers/hf.py
  "Invalid JSON in browser tool call", -- vllm/entrypoints/openai/responses/harmony.py
  "Joint decision reads are off", -- vllm/entrypoints/openai/decisions/strategies.py
  "Regex timeout occurred when matching user input", -- vllm/tool_parsers/pythonic_tool_parser.py
  "Failed to parse tool call details from", -- vllm/tool_parsers/poolside_v1_tool_parser.py
  "Failed to parse function calls from model output", -- vllm/tool_parsers/phi4mini_tool_parser.py
  "Failed to parse Dots tool call", -- vllm/tool_parsers/dots_tool_parser.py
  "Failed to parse streamed Dots tool call", -- the same
  "Failed to parse 'required' field for tool", -- vllm/tool_parsers/minicpm5xml_tool_parser.py
  "Error in extracting tool call from response", -- vllm/tool_parsers/granite_20b_fc_tool_parser.py
  "Error extracting tool calls", -- vllm/tool_parsers/xlam_tool_parser.py
  "Error in streaming tool calls", -- the same
  "in tool call arguments", -- vllm/tool_parsers/utils.py
  "Dict argument keys are not all literals", -- the same
}

-- Streams of which a line with content was dropped that came in parts: what follows may be the rest of it.
local open = {}

local function begins_line(text)
  return text:find("^%b() %u+ %d") ~= nil or text:find("^%u+: ") ~= nil
end

local function tells_content(text, level)
  if level == "DEBUG" or text:find("^%b() DEBUG ") then
    return true
  end
  for _, phrase in ipairs(CONTENT) do
    if text:find(phrase, 1, true) then
      return true
    end
  end
  return false
end

-- Whether an engine writes it: by the labels of its pod, by its form, or because the API did not tell whose it is.
local function from_engine(pod, labels, fields, text)
  local serves = labels["app.kubernetes.io/component"] == "model-server" or labels["app.kubernetes.io/name"] == "vllm"
  if pod.pod_id == nil or serves or text:find("^%b() %u+ %d") then
    return true
  end
  return fields ~= nil and type(fields.name) == "string" and fields.name:sub(1, 5) == "vllm."
end

-- The part of a record that its container wrote: what stood in JSON, and the text of it.
local function written(record)
  local fields = type(record.fields) == "table" and record.fields or nil
  local text = fields and fields.message or record.log
  return fields, type(text) == "string" and text or ""
end

-- Drops what tells of requests, unless the platform itself says that these pods may: nobody else gives pods its label.
function without_content(tag, timestamp, record)
  local pod = record.kubernetes or {}
  local labels = pod.labels or {}
  if labels["app.kubernetes.io/part-of"] == "llm-platform" and labels["llm-platform/prompts-logged"] == "true" then
    return 0, timestamp, record
  end
  local fields, text = written(record)
  if not from_engine(pod, labels, fields, text) then
    return 0, timestamp, record
  end
  if open[tag] and fields == nil and not begins_line(text) then
    return -1, timestamp, record
  end
  open[tag] = nil
  if tells_content(text, fields and fields.levelname) then
    open[tag] = fields == nil or nil
    return -1, timestamp, record
  end
  return 0, timestamp, record
end
