// `headcount-runner train`: makes the built-in models and measures them.
#pragma once

namespace CLI {
class App;
}

namespace headcount::runner {

/// Adds the subcommand `train` with `addition` (trains, saves, then verifies) and `verify DIR`.
/// Their callbacks run the work, print progress to stdout and throw Error where it cannot be done.
void add_train_command(CLI::App& app);

}  // namespace headcount::runner
