// Any JSON as the input of templates that look at everything: tools, parts, reasoning, macros. All
// that comes out of the input is marked, so no letter that only the input has is ever unmarked.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "runtime/base/utf8.h"
#include "runtime/model/chat/chat_template.h"

static constexpr std::string_view kTemplates[] = {
    R"({%- for m in messages %}{{ '<' ~ m.role ~ '>' }}{%- if m.content is string %}{{ m.content|trim }}
{%- elif m.content is iterable %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}
{%- for c in m.tool_calls or [] %}{{ c|tojson(indent=2) }}{% endfor %}{{ m.reasoning_content }}{% endfor %})",
    R"({%- macro show(v, n=0) %}{% if v is mapping %}{% for k, w in v|dictsort %}{{ k }}={{ show(w, n + 1) }};
{%- endfor %}{% elif v is string %}{{ v.split('</think>')[-1].lstrip('\n')|indent(n) }}
{%- elif v is iterable %}{% for w in v %}{{ loop.index }}{{ show(w, n + 1) }}{% endfor %}{% else %}{{ v }}
{%- endif %}{% endmacro %}{{ show(messages) }}{{ show(tools) }}{{ x }}{{ x|string|upper }})",
    R"({{ messages }}{{ tools|tojson }}{{ messages|map(attribute='content')|list }}{{ messages|groupby('role') }}
{%- set ns = namespace(t='') %}{% for m in messages[::-1] %}{% set ns.t = ns.t ~ '%s|{}' % m.content %}{% endfor %}
{{- ns.t|replace('a', 'b')|title|e }}{{ x }})"};

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitd;
  if (size == 0) return 0;
  const std::string_view which = kTemplates[data[0] % std::size(kTemplates)];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Result<JsonDoc> input = JsonDoc::parse_view(text);
  if (!input) return 0;
  const Result<ChatTemplate> parsed = ChatTemplate::parse(std::string(which));
  if (!parsed) std::abort();
  RenderOptions options;
  options.keep_nulls = (data[0] & 0x80) != 0;
  options.limits.max_steps = 200'000;
  options.limits.max_memory_bytes = size_t{32} << 20;
  const Result<MarkedText> rendered = parsed->render(input->root(), options);
  if (!rendered) return 0;
  if (!utf8_is_valid(rendered->text)) std::abort();
  std::string rest = rendered->text;
  for (auto range = rendered->literal.rbegin(); range != rendered->literal.rend(); ++range) {
    if (range->begin >= range->end || range->end > rest.size()) std::abort();
    rest.erase(range->begin, range->end - range->begin);
  }
  // The templates, and what Python prints around values, have none of these.
  if (rest.find_first_of("QZ") != std::string::npos) std::abort();
  return 0;
}
