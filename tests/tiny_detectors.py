"""Zero-shot detectors of transformers with random weights, in folders as the hub has them."""

import string

import torch

WORDS = [
    "red", "green", "blue", "black", "kite", "dog", "circle", "square", "triangle", "beach", "man",
    "sky", "boat", "a", "the", "on", "of", "and", "with",
]  # fmt: skip
SWIN = {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}


def bert_tokenizer():
    """Build a tokenizer whose special tokens and dot have the ids that Grounding DINO expects."""
    from transformers import BertTokenizer

    vocabulary = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]"]
    vocabulary += ["[MASK]", *(f"[unused{i}]" for i in range(99, 1007))]
    vocabulary += [".", *WORDS, *(f"##{c}" for c in string.ascii_lowercase)]
    vocabulary += list(string.ascii_lowercase)
    assert [vocabulary.index(t) for t in ("[CLS]", "[SEP]", ".")] == [101, 102, 1012]
    return BertTokenizer(vocab={token: i for i, token in enumerate(dict.fromkeys(vocabulary))})


def clip_tokenizer(longest):
    """Build a byte-pair tokenizer of single letters."""
    from transformers import CLIPTokenizer

    letters = [*string.ascii_lowercase, ",", "."]
    tokens = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i + 1 for i, token in enumerate(tokens)} | {"!": 0}
    return CLIPTokenizer(vocab=vocabulary, merges=[], pad_token="!", model_max_length=longest)


def grounding_dino(folder):
    import transformers as T

    tokenizer = bert_tokenizer()
    config = T.GroundingDinoConfig(
        backbone_config=T.SwinConfig(**SWIN, image_size=64, out_indices=[2, 3, 4]),
        text_config=T.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        ),
        d_model=64,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=20,
    )
    pictures = T.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 107})
    model = T.GroundingDinoForObjectDetection(config)
    with torch.no_grad():  # spreads scores over (0, 1)
        model.model.decoder.layer_norm.weight.mul_(0.05)
    T.GroundingDinoProcessor(pictures, tokenizer).save_pretrained(folder)
    return model


def owlv2(folder):
    import transformers as T

    tokenizer = clip_tokenizer(16)
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    tower |= {"num_attention_heads": 2}
    config = T.Owlv2Config(
        text_config=tower
        | {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id,
           "bos_token_id": tokenizer.bos_token_id, "pad_token_id": 0},
        vision_config=tower | {"image_size": 64, "patch_size": 16},
        projection_dim=32,
    )  # fmt: skip
    pictures = T.Owlv2ImageProcessor(size={"height": 64, "width": 64})
    T.Owlv2Processor(pictures, tokenizer).save_pretrained(folder)
    model = T.Owlv2ForObjectDetection(config)
    with torch.no_grad():  # spreads sides and scores over (0, 1)
        for layer in (model.box_head.dense2, model.class_head.logit_scale):
            layer.weight.mul_(0.05)
    return model


def omdet_turbo(folder):
    import transformers as T

    tokenizer = clip_tokenizer(77)
    config = T.OmDetTurboConfig(
        backbone_config=T.SwinConfig(**SWIN, image_size=64, out_indices=[2, 3, 4]),
        text_config=T.CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=48,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            eos_token_id=tokenizer.eos_token_id,
            projection_dim=32,
        ),
        apply_layernorm_after_vision_backbone=False,
        image_size=64,
        text_projection_in_dim=48,
        text_projection_out_dim=48,
        task_encoder_hidden_dim=32,
        class_embed_dim=48,
        num_queries=12,
        vision_features_channels=[32, 32, 32],
        encoder_in_channels=[32, 64, 128],
        encoder_hidden_dim=32,
        encoder_attention_heads=2,
        encoder_dim_feedforward=32,
        decoder_hidden_dim=32,
        decoder_num_heads=2,
        decoder_num_layers=2,
        decoder_dim_feedforward=32,
        cache_size=3,
    )
    pictures = T.DetrImageProcessor(size={"height": 64, "width": 64}, do_pad=False)
    T.OmDetTurboProcessor(pictures, tokenizer).save_pretrained(folder)
    model = T.OmDetTurboForObjectDetection(config)
    torch.nn.init.normal_(model.language_backbone.text_projection, std=0.2)
    return model


def saved(build, folder):
    """Build a detector with fixed random weights, and save it with its processor."""
    from filters.open_clip_models import ensure_torchvision

    ensure_torchvision()
    torch.manual_seed(0)
    model = build(folder).eval()
    for name, weights in model.named_parameters():
        if "bbox_" in name:  # transformers starts with boxes that do not move or grow
            torch.nn.init.normal_(weights, std=0.2)
    model.save_pretrained(folder)
    return folder
