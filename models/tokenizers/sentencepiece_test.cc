// SentencePiece models, with libsentencepiece itself as the witness.
#ifdef HEADCOUNT_SENTENCEPIECE
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include "models/tokenizers/test_tokenizers.h"

namespace headcount::models {
namespace {

TEST(SharedTokenizers, SentencePieceModelsEncodeAndDecodeAsTheLibrary) {
  for (const char* name : {"tokenizers/llama2", "tokenizers/mistral_v1"}) {
    const fs::path path = shared(name) / "tokenizer.model";
    SKIP_WITHOUT(path);
    const Tokenizer tokenizer = Tokenizer::open(path);
    sentencepiece::SentencePieceProcessor library;
    ASSERT_TRUE(library.Load(path.string()).ok());
    std::mt19937 random(13);
    for (int round = 0; round < 300; ++round) {
      const std::string text = mixed_unicode(random, random() % 2000);
      const Ids ids = tokenizer.encode(text);
      EXPECT_EQ(ids, library.EncodeAsIds(text));
      EXPECT_EQ(tokenizer.decode(ids), library.DecodeIds(ids));
      Ids any(random() % 30);
      for (int32_t& id : any)
        id = static_cast<int32_t>(random() % (random() % 2 == 0 ? 300 : 32000));
      EXPECT_EQ(tokenizer.decode(any), library.DecodeIds(any));
      EXPECT_EQ(streamed(tokenizer, any, false), tokenizer.decode(any));
    }
  }
}

TEST_F(Tokenizers, OtherSentencePieceModelsGoToTheLibrary) {
  std::string sentences;
  for (const char* word : {"the cat sat", "on the mat", "caf\u00E9 caf\u00E9", "a cat on a mat"})
    sentences += std::string(word) + "\n";
  const std::string text = write("text.txt", sentences);
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      "--input=" + text + " --model_prefix=" + (folder_ / "tokenizer").string() +
      " --vocab_size=24 --hard_vocab_limit=false --model_type=unigram --minloglevel=2");
  ASSERT_TRUE(status.ok()) << status.ToString();
  const Tokenizer tokenizer = Tokenizer::open(folder_ / "tokenizer.model");
  const Ids ids = tokenizer.encode("the  caf\u00E9 mat", true);
  EXPECT_EQ(ids.front(), tokenizer.id_of("<s>"));
  EXPECT_EQ(tokenizer.decode(ids), "the caf\u00E9 mat") << "its normalizer joins spaces";
  EXPECT_EQ(streamed(tokenizer, ids, false), "the caf\u00E9 mat");
}

TEST_F(Tokenizers, RefusesWhatIsNoSentencePieceModel) {
  EXPECT_THAT(error_of([&] { Tokenizer::open(write("tokenizer.model", "\x0A\xFF\xFF")); }),
              HasSubstr("is no SentencePiece model"));
  EXPECT_THAT(error_of([&] { Tokenizer::open(write("tokenizer.model", "")); }),
              HasSubstr("tokenizer.model"));
}

}  // namespace
}  // namespace headcount::models
#endif
