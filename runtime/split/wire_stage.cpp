#include "runtime/split/wire_stage.h"

namespace splitd {

Status WireStage::travel(std::vector<std::byte>& payload, std::span<float> rows) const {
  payload.resize(wire_.bytes(rows.size() / wire_.d_model()));
  SPLITD_TRY(wire_.encode(rows, payload));
  return wire_.decode(payload, rows);
}

Status WireStage::submit(SessionId session, const StageRequest& request) {
  rows_.assign(request.rows.begin(), request.rows.end());
  SPLITD_TRY(travel(up_, rows_));
  StageRequest travelled = request;
  travelled.rows = rows_;
  return inner_.submit(session, travelled);
}

Status WireStage::next(SessionId session, Deadline deadline, StageReply& reply) {
  SPLITD_TRY(inner_.next(session, deadline, reply));
  return travel(down_, reply.rows);
}

}  // namespace splitd
