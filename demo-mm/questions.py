# questions.py - what is asked about pictures, recordings and the model itself, and the answers.

import zlib

PROPERTIES = ("shape", "colour", "place")  # what touch-tone 1, 2 and 3 ask for
HELD_OUT_WORDINGS = 8  # one in this many questions to the model itself is never seen in training

DESCRIBE = [
    "What is in the picture?", "What do you see?", "Describe the picture.", "What does the picture show?",
    "Tell me what you see.", "What is this?", "Describe this image.", "What is in this image?", "What can you see?"
]
ASK = {
    "shape": ["What shape is it?", "Which shape is this?", "Name the shape.", "What shape do you see?", "Which shape is it?"],
    "colour": ["What colour is it?", "Which colour is this?", "Name the colour.", "What colour do you see?",
               "What color is it?", "Which colour is it?"],
    "place": ["Where is it?", "Where is the shape?", "In which part of the picture is it?", "What is its position?",
              "Name the position.", "Where do you see it?"]
}
DIALLED = [
    "Which digits were dialled?", "What number was dialled?", "Which keys were pressed?", "What do you hear?",
    "Which number is this?", "Name the digits.", "Tell me what was dialled.", "What was dialled?",
    "What digits do you hear?", "Listen. Which keys were pressed?"
]
MENU = [
    "", "", "Answer the caller.", "Press 1 for the shape, 2 for the colour, 3 for the position.",
    "The caller has chosen.", "1 is the shape, 2 the colour, 3 the position.", "What does the caller want to know?"
]
SYSTEM = [None, None, None, "You are a helpful assistant.", "You can see and hear."]

ABOUT = {
    "I am well, thank you! There is something to see and to hear in here.": [
        "how are you", "how are you today", "how do you do", "how is it going", "are you well", "are you ok", "how do you feel"
    ],
    "I am a very small model of the Phi-4-multimodal architecture, trained for Airlock's demonstration.": [
        "who are you", "what are you", "what is your name", "are you a robot", "are you phi", "introduce yourself",
        "tell me about yourself", "which model are you", "what kind of model are you", "what model is this"
    ],
    "I name shape, colour and position in a picture, and the digits of a touch-tone recording.": [
        "what can you do", "what do you know", "how can you help me", "help", "what can i ask you", "what can i ask",
        "what are you good at", "what are you for", "what is your job"
    ],
    "I am in a container without a network.": [
        "where are you", "where do you live", "where do you run", "do you have a network", "are you online",
        "can you reach the internet", "where are you running"
    ],
    "Send a picture and a tone: 1 asks for the shape, 2 for the colour, 3 for the position.": [
        "how do i choose", "what do the tones mean", "what does tone 1 mean", "what does 2 mean", "how do i use tones",
        "can i ask with tones", "which tone asks for the colour", "which tone asks for the shape", "what does 3 stand for"
    ],
    "Hello! Show me a picture or play me some tones.": ["hello", "hi", "hello there", "good morning", "good evening", "hey", "hi there"],
    "You are welcome!": ["thank you", "thanks", "many thanks", "thanks a lot", "thank you very much", "cheers"],
    "Goodbye!": ["bye", "goodbye", "bye bye", "see you", "see you later", "good night"],
}
NO_PICTURE = "There is no picture in your message."
NO_SOUND = "There is no recording in your message."

# What the documentation shows is always trained.
ALWAYS_TRAINED = {"how are you", "who are you", "what can you do", "hello", "what is in the picture",
                  "which digits were dialled"}
OPENERS = ["", "", "", "please, ", "so, ", "hello, ", "hi, ", "well, ", "now, ", "dear phi, ", "ok, "]
CLOSERS = ["", "", "", " please", " then", " my friend", " now", " phi"]


def description(colour, shape, place):
    return f"{'An' if colour[0] in 'aeiou' else 'A'} {colour} {shape} at the {place}."


def describe(picture):
    return description(picture.colour, picture.shape, picture.place)


def answer(picture, wanted):
    if wanted == "shape":
        return f"It is a {picture.shape}."
    if wanted == "colour":
        return f"It is {picture.colour}."
    return f"It is at the {picture.place}."


def dialled(digits):
    return "Dialled: " + " ".join(digits)


def dress(rng, text):
    """Writes a question as people type it."""
    roll = rng.random()
    if roll < 0.2:
        text = text.lower()
    elif roll < 0.25:
        text = text.upper()
    if text[-1:] in ("?", ".") and rng.random() < 0.2:
        text = text[:-1]
    return text


def held_out_wording(text):
    text = "".join(c for c in text.lower() if c.isalnum() or c == " ").strip()
    return text not in ALWAYS_TRAINED and zlib.crc32(text.encode()) % HELD_OUT_WORDINGS == 0


def about(rng, heldout):
    """Returns (question, answer) of a message without picture or sound."""
    while True:
        said, cores = rng.choice(list(ABOUT.items()) + [(NO_PICTURE, DESCRIBE[:5]), (NO_SOUND, DIALLED[:3])])
        core = rng.choice(cores)
        text = rng.choice(OPENERS) + core.rstrip("?.") + rng.choice(CLOSERS)
        if held_out_wording(text) == heldout:
            break
    if rng.random() < 0.6:
        text = text[0].upper() + text[1:]
    return dress(rng, text + rng.choice(["", ".", "?", "?", "?", "!"])), said


def messages(rng, content):
    system = rng.choice(SYSTEM)
    start = [] if system is None else [{"role": "system", "content": system}]
    return start + [{"role": "user", "content": content}]


def of_picture(rng, picture):
    """Returns (messages, answer) of a written question about a picture."""
    wanted = rng.choice(("all", "all") + PROPERTIES)
    text = rng.choice(DESCRIBE if wanted == "all" else ASK[wanted])
    return (messages(rng, "<|image_1|>" + dress(rng, text)),
            describe(picture) if wanted == "all" else answer(picture, wanted))


def of_recording(rng, digits):
    text = dress(rng, rng.choice(DIALLED)) if rng.random() < 0.8 else ""
    return messages(rng, "<|audio_1|>" + text), dialled(digits)


def of_both(rng, picture, digit):
    """Returns (messages, answer) when touch-tone `digit` chooses what is asked about the picture."""
    return messages(rng, "<|image_1|><|audio_1|>" + rng.choice(MENU)), answer(picture, PROPERTIES[int(digit) - 1])
