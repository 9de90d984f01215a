#include "runtime/split/body_metrics.h"

namespace splitd {

std::string BodyMetrics::page(const BodyGauges& gauges, const TrafficCounters& traffic) const {
  const auto value = [](const std::atomic<uint64_t>& counter) {
    return counter.load(std::memory_order_relaxed);
  };
  MetricsText text;
  text.family("splitd_sessions", "gauge", "Sessions, with a connection and without.");
  text.sample(gauges.attached, {{"state", "attached"}});
  text.sample(gauges.detached, {{"state", "detached"}});
  text.gauge("splitd_reserved_rows", "Rows that the open sessions may hold.", gauges.used.rows);
  text.gauge("splitd_kv_bytes", "Keys, values and kept replies of the open sessions, as reserved.",
             gauges.used.bytes);
  text.gauge("splitd_queue_steps", "Steps that wait or are computed.", gauges.in_flight);
  text.gauge("splitd_layer_ranges", "Ranges of layers that sessions use.", gauges.engines);
  text.counter("splitd_sessions_opened_total", "Sessions that were opened.", value(opened));
  text.counter("splitd_sessions_resumed_total", "Connections that took a session over.",
               value(resumed));
  text.counter("splitd_sessions_expired_total", "Sessions that were forgotten for being idle.",
               value(expired));
  text.counter("splitd_connections_replaced_total", "Connections whose session a newer one took.",
               value(replaced));
  text.counter("splitd_steps_total", "Steps that were answered.", value(steps));
  text.counter("splitd_rows_total", "Rows that were computed.", value(rows));
  text.histogram("splitd_step_seconds", "From a step's last byte in to its reply's first out.",
                 step_seconds);
  text.histogram("splitd_batch_seconds", "Computing one batch.", batch_seconds);
  text.histogram("splitd_batch_sessions", "Sessions that share a batch.", batch_sessions);
  text.histogram("splitd_batch_rows", "Rows of a batch.", batch_rows);
  text.family("splitd_refusals_total", "counter", "Errors that were sent, by their code.");
  for (size_t i = 0; i < kRefusalKinds; ++i) {
    text.sample(value(refusals[i]), {{"code", refusal_name(static_cast<Refusal>(i))}});
  }
  text.gauge("splitd_connections", "Connections, those before hello too.", traffic.connections);
  text.counter("splitd_connections_accepted_total", "Connections that were accepted.",
               traffic.accepted);
  text.counter("splitd_connections_refused_total", "Connections that ended before a good hello.",
               traffic.refused);
  text.counter("splitd_received_bytes_total", "Bytes from peers.", traffic.bytes_in);
  text.counter("splitd_sent_bytes_total", "Bytes to peers.", traffic.bytes_out);
  return text.take();
}

}  // namespace splitd
