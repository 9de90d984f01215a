// Owns: the lab measuring itself: a ping by UDP and bulk TCP in both directions, through the link
// as it was set, so that its own floor is known before it is used for a figure. With --check it
// fails where the link gave more than it may: a packet too early, more bytes than its rate. What is
// merely slow does not fail: that is the machine's doing.
#pragma once

#include "tests/lab/network.h"
#include "tests/lab/options.h"

namespace splitd::lab {

// The exit status; prints to stdout.
[[nodiscard]] int self_test(const LabOptions& options, Network& network);

}  // namespace splitd::lab
