// The built-in chat formats, for files without a template of their own and for --chat-template NAME.
//
// Each is a template as a model's file would hold it. BOS stands in those that have it in the middle, or
// whatever the tokenizer says; elsewhere the tokenizer decides. A format without a place for a system message
// leaves it out: chat.c then puts it before the first user's text.
//
// Sources: OpenAI's chatml.md; LLaVA's conversation.py (v1); Llama 2's generation.py; moondream's moondream.py
// (answer_question); Yi-VL's conversation.py (mm_default); the model cards of Llama 3, Mistral, Phi-3, Gemma,
// Zephyr, DeepSeek, Granite, nanoLLaVA and Obsidian.
#include "llm/chat.h"

// ns.system: all system messages, one a line; ns.given: there is one.
#define SYSTEM_LINES                                                                                         \
    "{% set ns = namespace(given=false, system='', gap=' ', answered=true) %}"                               \
    "{% for m in messages if m.role == 'system' %}"                                                          \
    "{% set ns.system = ns.system + ('\\n' if ns.given else '') + m.content %}{% set ns.given = true %}"     \
    "{% endfor %}"

#define LLAMA_2                                                                                              \
    SYSTEM_LINES                                                                                             \
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' }}"                            \
    "{% if ns.given %}{{ '<<SYS>>\\n' + ns.system + '\\n<</SYS>>\\n\\n' }}{% endif %}"                       \
    "{% set ns.given = false %}"                                                                             \
    "{{ m.content + ' [/INST]' }}{% set ns.answered = false %}"                                              \
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + ' ' + eos_token }}{% set ns.answered = true %}"    \
    "{% endif %}{% endfor %}"                                                                                \
    "{% if ns.answered %}{{ raise_exception(\"the last message must be a user's\") }}{% endif %}"

#define YI_SYSTEM                                                                                            \
    "This is a chat between an inquisitive human and an AI assistant. Assume the role of the AI assistant. " \
    "Read all the images carefully, and respond to the human\\'s questions with informative, helpful, "      \
    "detailed and polite answers. "                                                                          \
    "\\u8fd9\\u662f\\u4e00\\u4e2a\\u597d\\u5947\\u7684\\u4eba\\u7c7b\\u548c\\u4e00\\u4e2a"                   \
    "\\u4eba\\u5de5\\u667a\\u80fd\\u52a9\\u624b\\u4e4b\\u95f4\\u7684\\u5bf9\\u8bdd\\u3002"                   \
    "\\u5047\\u8bbe\\u4f60\\u626e\\u6f14\\u8fd9\\u4e2aAI\\u52a9\\u624b\\u7684\\u89d2"                        \
    "\\u8272\\u3002\\u4ed4\\u7ec6\\u9605\\u8bfb\\u6240\\u6709\\u7684\\u56fe\\u50cf\\uff0c"                   \
    "\\u5e76\\u5bf9\\u4eba\\u7c7b\\u7684\\u95ee\\u9898\\u505a\\u51fa\\u4fe1\\u606f\\u4e30"                   \
    "\\u5bcc\\u3001\\u6709\\u5e2e\\u52a9\\u3001\\u8be6\\u7ec6\\u7684\\u548c\\u793c\\u8c8c"                   \
    "\\u7684\\u56de\\u7b54\\u3002"

const struct chat_format chat_formats[] = {
    {.name = "chatml",
     .text = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% "
             "endfor %}"
             "{{ '<|im_start|>assistant\\n' }}"},
    // A role has a space before it, but where it begins a text the tokenizer gives it one.
    {.name = "vicuna",
     .text = SYSTEM_LINES
     "{% if not ns.given %}{% set ns.system = 'A chat between a curious user and an artificial intelligence "
     "assistant. The assistant gives helpful, detailed, and polite answers to the user\\'s questions.' %}"
     "{% endif %}{{ ns.system }}{% if not ns.system %}{% set ns.gap = '' %}{% endif %}"
     "{% for m in messages %}{% if m.role == 'user' %}"
     "{{ ns.gap + 'USER: ' + m.content }}{% set ns.gap = ' ' %}"
     "{% elif m.role == 'assistant' %}"
     "{{ ns.gap + 'ASSISTANT: ' + m.content + eos_token }}{% set ns.gap = '' %}"
     "{% endif %}{% endfor %}{{ ns.gap + 'ASSISTANT:' }}"},
    {.name = "llama-2", .text = LLAMA_2},
    {.name = "llama2", .text = LLAMA_2},
    {.name = "llama3",
     .text =
         "{{ bos_token }}{% for m in messages %}"
         "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content|trim + '<|eot_id|>' }}"
         "{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"},
    {.name = "mistral-v1",
     .text = "{{ bos_token }}{% for m in messages %}"
             "{% if m.role == 'user' %}{{ ' [INST] ' + m.content + ' [/INST]' }}"
             "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"},
    {.name = "mistral-v3",
     .text = "{{ bos_token }}{% for m in messages %}"
             "{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}"
             "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"},
    {.name = "mistral-v3-tekken",
     .text = "{{ bos_token }}{% for m in messages %}"
             "{% if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}"
             "{% elif m.role == 'assistant' %}{{ m.content + eos_token }}{% endif %}{% endfor %}"},
    {.name = "mistral-v7",
     .text = "{{ bos_token }}{% for m in messages %}"
             "{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}"
             "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
             "{% else %}{{ '[SYSTEM_PROMPT] ' + m.content + '[/SYSTEM_PROMPT]' }}{% endif %}{% endfor %}"},
    {.name = "phi3",
     .text = "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
             "{{ '<|assistant|>\\n' }}"},
    {.name = "gemma",
     .text = "{{ bos_token }}{% for m in messages if m.role != 'system' %}"
             "{{ '<start_of_turn>' + ('user' if m.role == 'user' else 'model') + '\\n' }}"
             "{{ m.content|trim + '<end_of_turn>\\n' }}{% endfor %}{{ '<start_of_turn>model\\n' }}"},
    {.name = "zephyr",
     .text =
         "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}{% endfor %}"
         "{{ '<|assistant|>\\n' }}"},
    {.name = "deepseek2",
     .text = "{{ bos_token }}{% for m in messages %}"
             "{% if m.role == 'user' %}{{ 'User: ' + m.content + '\\n\\n' }}"
             "{% elif m.role == 'assistant' %}{{ 'Assistant: ' + m.content + eos_token }}"
             "{% else %}{{ m.content + '\\n\\n' }}{% endif %}{% endfor %}{{ 'Assistant:' }}"},
    {.name = "deepseek3",
     .text = "{{ bos_token }}{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}"
             "{% for m in messages %}"
             "{% if m.role == 'user' %}{{ '<\\uff5cUser\\uff5c>' + m.content }}"
             "{% elif m.role == 'assistant' %}{{ '<\\uff5cAssistant\\uff5c>' + m.content + eos_token }}"
             "{% endif %}{% endfor %}{{ '<\\uff5cAssistant\\uff5c>' }}"},
    {.name = "granite",
     .text = "{% for m in messages %}"
             "{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\\n' }}"
             "{% endfor %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}"},
    // The picture stands before the question's own words.
    {.name = "moondream2",
     .text =
         "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{% if m.content is string %}"
         "{{ 'Question: ' + m.content }}{% else %}"
         "{% for p in m.content if p.type == 'image' %}{{ '<image>\\n\\n' }}{% endfor %}{{ 'Question: ' }}"
         "{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}{% endif %}{{ '\\n\\n' }}"
         "{% elif m.role == 'assistant' %}{{ 'Answer: ' + m.content + '\\n\\n' }}{% endif %}{% endfor %}"
         "{{ 'Answer:' }}",
     .model = "moondream"},
    {.name = "nanollava",
     .text = "{% if messages[0].role != 'system' %}"
             "{{ '<|im_start|>system\\nAnswer the question<|im_end|>' }}{% endif %}{% for m in messages %}"
             "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}{% endfor %}"
             "{{ '<|im_start|>assistant\\n' }}",
     .model = "nanollava"},
    {.name = "obsidian",
     .text = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '\\n###\\n' }}"
             "{% endfor %}{{ '<|im_start|>assistant\\n' }}",
     .model = "obsidian",
     .stop = "###"},
    {.name = "yi-vl",
     .text = SYSTEM_LINES
     "{% if not ns.given %}{% set ns.system = '" YI_SYSTEM "' %}{% endif %}"
     "{{ ns.system + '\\n\\n' }}"
     "{% for m in messages %}{% if m.role == 'user' %}{{ '### Human: ' + m.content + '\\n' }}"
     "{% elif m.role == 'assistant' %}{{ '### Assistant: ' + m.content + '\\n' }}{% endif %}{% endfor %}"
     "{{ '### Assistant:' }}",
     .model = "yi-vl",
     .stop = "###"},
    {.name = NULL},
};
