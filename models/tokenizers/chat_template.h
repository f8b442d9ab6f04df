// Conversations as the text a chat model was trained on. The ten published templates are functions
// here, chosen by name or by the exact template text of tokenizer_config.json; any other text is
// refused, never interpreted.
#pragma once

#include <string>
#include <vector>

namespace headcount::models {

struct ChatMessage {
  std::string role;  // system | user | assistant
  std::string content;
};

/// "llada", "dream", "qwen2", "chatml", "llama2", "llama3", "llama3_1", "mistral", "mistral_v3",
/// "tinyllama".
const std::vector<std::string>& chat_template_names();

/// The conversation as one text, special tokens written out. `bos` and `eos` are the tokenizer's
/// token texts (empty: none). Throws Error naming the template for an unknown name, and where the
/// template itself refuses the conversation (mistral: a system message; roles out of turn).
std::string render_chat(const std::string& name, const std::vector<ChatMessage>& messages,
                        bool add_generation_prompt, const std::string& bos, const std::string& eos);

/// What a model directory says of its chats: the template's name and the two token texts, from
/// tokenizer_config.json (chat_template a string or a list with "default"; or
/// chat_template.jinja beside it).
struct ChatFormat {
  std::string name, bos, eos;
};
/// Throws Error where the directory has no template or one that is none of ours, with the names to
/// choose from. `name` not empty: that template, only the token texts are read.
ChatFormat chat_format(const std::string& directory, const std::string& name);

}  // namespace headcount::models
