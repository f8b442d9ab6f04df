#include "schemas/version.h"

namespace headcount {

const char* const kVersion = HEADCOUNT_VERSION;

}  // namespace headcount
