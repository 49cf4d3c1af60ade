"""Documents for a model whose chat template shows none: told in a system message."""

from __future__ import annotations

import json

import attrs

from openllm.prompt.expectations import Expectations
from openllm.prompt.messages import with_system_text
from openllm.types import Conversation

_BLOCK = """\
These documents may help with the user's request, one a line, as JSON:
<documents>
{documents}
</documents>"""


def told(conversation: Conversation, expects: Expectations) -> Conversation:
    """The same conversation for a template with what it `expects`: documents that it does not show
    stand in the system message.
    """
    if expects.documents or not conversation.documents:
        return conversation
    lines = (json.dumps(document, ensure_ascii=False) for document in conversation.documents)
    text = _BLOCK.format(documents="\n".join(lines))
    messages = with_system_text(conversation.messages, text, expects.system)
    return attrs.evolve(conversation, messages=tuple(messages), documents=())
