// Ports of this machine: which to listen on, and who has them.
#pragma once

#include <string>
#include <vector>

namespace headcount::transport {

/// Up to a hundred ports to try for `name` (a state directory): the same for the same name, and
/// outside the range the kernel takes the ports of outgoing connections from. Empty where that
/// range leaves nothing.
std::vector<int> ports_for(const std::string& name);

/// "process 12 (nginx)": who listens on that port; "another user's program" where /proc does not
/// tell.
std::string holder_of(int port);

}  // namespace headcount::transport
