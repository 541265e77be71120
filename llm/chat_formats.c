// The built-in chat formats, for files without a template of their own and for --chat-template NAME.
//
// Each is a template as a model's file would hold it. BOS stands in those that have it in the middle, or
// whatever the tokenizer says; elsewhere the tokenizer decides. A format without a place for a system message
// leaves it out: chat.c then puts it before the first user's text.
//
// Sources: OpenAI's chatml.md; LLaVA's conversation.py (v1); Llama 2's generation.py; the model cards of
// Llama 3, Mistral, Phi-3, Gemma, Zephyr, DeepSeek and Granite.
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

const struct chat_format chat_formats[] = {
    {"chatml",
     "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
     "{{ '<|im_start|>assistant\\n' }}"},
    // A role has a space before it, but where it begins a text the tokenizer gives it one.
    {"vicuna", SYSTEM_LINES
     "{% if not ns.given %}{% set ns.system = 'A chat between a curious user and an artificial intelligence "
     "assistant. The assistant gives helpful, detailed, and polite answers to the user\\'s questions.' %}"
     "{% endif %}{{ ns.system }}{% if not ns.system %}{% set ns.gap = '' %}{% endif %}"
     "{% for m in messages %}{% if m.role == 'user' %}"
     "{{ ns.gap + 'USER: ' + m.content }}{% set ns.gap = ' ' %}"
     "{% elif m.role == 'assistant' %}"
     "{{ ns.gap + 'ASSISTANT: ' + m.content + eos_token }}{% set ns.gap = '' %}"
     "{% endif %}{% endfor %}{{ ns.gap + 'ASSISTANT:' }}"},
    {"llama-2", LLAMA_2},
    {"llama2", LLAMA_2},
    {"llama3",
     "{{ bos_token }}{% for m in messages %}"
     "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content|trim + '<|eot_id|>' }}"
     "{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"},
    {"mistral-v1",
     "{{ bos_token }}{% for m in messages %}"
     "{% if m.role == 'user' %}{{ ' [INST] ' + m.content + ' [/INST]' }}"
     "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"},
    {"mistral-v3",
     "{{ bos_token }}{% for m in messages %}"
     "{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}"
     "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"},
    {"mistral-v3-tekken",
     "{{ bos_token }}{% for m in messages %}"
     "{% if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}"
     "{% elif m.role == 'assistant' %}{{ m.content + eos_token }}{% endif %}{% endfor %}"},
    {"mistral-v7",
     "{{ bos_token }}{% for m in messages %}"
     "{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}"
     "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
     "{% else %}{{ '[SYSTEM_PROMPT] ' + m.content + '[/SYSTEM_PROMPT]' }}{% endif %}{% endfor %}"},
    {"phi3", "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
             "{{ '<|assistant|>\\n' }}"},
    {"gemma", "{{ bos_token }}{% for m in messages if m.role != 'system' %}"
              "{{ '<start_of_turn>' + ('user' if m.role == 'user' else 'model') + '\\n' }}"
              "{{ m.content|trim + '<end_of_turn>\\n' }}{% endfor %}{{ '<start_of_turn>model\\n' }}"},
    {"zephyr",
     "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}{% endfor %}"
     "{{ '<|assistant|>\\n' }}"},
    {"deepseek2", "{{ bos_token }}{% for m in messages %}"
                  "{% if m.role == 'user' %}{{ 'User: ' + m.content + '\\n\\n' }}"
                  "{% elif m.role == 'assistant' %}{{ 'Assistant: ' + m.content + eos_token }}"
                  "{% else %}{{ m.content + '\\n\\n' }}{% endif %}{% endfor %}{{ 'Assistant:' }}"},
    {"deepseek3", "{{ bos_token }}{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}"
                  "{% for m in messages %}"
                  "{% if m.role == 'user' %}{{ '<\\uff5cUser\\uff5c>' + m.content }}"
                  "{% elif m.role == 'assistant' %}{{ '<\\uff5cAssistant\\uff5c>' + m.content + eos_token }}"
                  "{% endif %}{% endfor %}{{ '<\\uff5cAssistant\\uff5c>' }}"},
    {"granite", "{% for m in messages %}"
                "{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\\n' }}"
                "{% endfor %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}"},
    {NULL, NULL},
};
