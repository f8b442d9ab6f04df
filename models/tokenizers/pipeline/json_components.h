// The parts of tokenizer.json that are lists of components by "type". Every reader takes a
// component (or null), appends its steps in order and throws Error naming an unknown type or value.
#pragma once

#include <vector>

#include "models/tokenizers/pipeline/json_object.h"
#include "models/tokenizers/pipeline/pipeline.h"

namespace headcount::models {

void read_normalizer(const JsonValue& component, std::vector<Normalizer>& out);
void read_pre_tokenizer(const JsonValue& component, std::vector<PreTokenizer>& out);
void read_decoder(const JsonValue& component, std::vector<DecoderStep>& out);

/// Special tokens around a single text.
void read_post_processor(const JsonValue& component, std::vector<int32_t>& before,
                         std::vector<int32_t>& after);

/// BERT's pre-tokenizer: white space removed, punctuation apart.
void add_bert_pre_tokenizer(std::vector<PreTokenizer>& out);

}  // namespace headcount::models
