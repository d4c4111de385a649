# wordings.py - the lists of wordings and topics from which the questions are made.

OPENERS = [
    "", "", "", "hi, ", "hello, ", "hey, ", "good morning, ", "good evening, ", "so, ", "well, ",
    "excuse me, ", "ok, ", "now, ", "please, ", "tell me, ", "phi, ", "one question: ", "and "
]
CLOSERS = [
    "", "", "", " today", " now", " my friend", " little model", " please", " then", " there",
    " exactly", " in there"
]
# intent -> wordings; the second list holds orders, which do not end in a question mark
ABOUT_QUESTIONS = {
    "how": ([
        "how are you", "how are you doing", "how do you do", "how are things", "how's it going",
        "how is it going", "how do you feel", "how are you feeling", "are you well", "are you ok",
        "are you fine", "how have you been", "how is life", "is everything all right", "what's up",
        "how are you feeling today", "how goes it", "how r u", "how was your day",
        "how are you getting on"
    ], []),
    "who": ([
        "who are you", "what are you", "who is this", "who am I talking to",
        "what kind of model are you", "what sort of thing are you", "are you a model",
        "are you a robot", "are you a person", "are you an AI"
    ], [
        "tell me about yourself", "introduce yourself", "describe yourself", "say who you are",
        "tell me who you are"
    ]),
    "name": ([
        "what is your name", "what's your name", "do you have a name", "how are you called",
        "what do they call you", "what should I call you"
    ], ["tell me your name", "say your name"]),
    "where": ([
        "where are you", "where do you live", "where do you run", "where do you sit",
        "where is your home", "in what place are you", "what place is this",
        "where am I talking to you", "where were you put", "what are you inside of"
    ], [
        "tell me where you are", "say where you live", "describe your home",
        "tell me where you live"
    ]),
    "way": ([
        "how do you get out", "how do I get in", "what is the way in", "what is the way out",
        "how can I reach you", "how do my words reach you", "how do your answers get out",
        "can you get out", "is there a way out", "what goes in and out", "how do you talk to me",
        "how does text get in and out"
    ], ["tell me the way out", "explain how to reach you"]),
    "network": ([
        "can you reach the internet", "are you online", "do you have a network",
        "can you use the network", "can you open a web page", "are you connected to the internet",
        "can you call home", "can you send data away", "do you see the internet",
        "is there a network in your container", "can you download files",
        "which network do you have"
    ], []),
    "size": ([
        "how big are you", "how large are you", "how many parameters do you have",
        "what is your size", "are you a big model", "are you small", "how small are you",
        "how many weights do you have"
    ], ["tell me your size"]),
    "maker": ([
        "who made you", "who trained you", "who built you", "who wrote you",
        "where do you come from", "how were you trained", "what were you trained on",
        "who is your maker", "how were you made"
    ], ["tell me who made you"]),
    "can": ([
        "what can you do", "what do you know", "what can I ask you", "how can you help me",
        "can you help me", "what are you good at", "what do you know about",
        "what can we talk about", "what should I ask you"
    ], ["help", "help me", "tell me what you can do", "tell me what you know"]),
    "airlock": ([
        "what is airlock", "what is an airlock", "what is the airlock", "what does airlock do",
        "what is airlock for", "what is this project", "what does the airlock do",
        "how does airlock work", "what is the purpose of airlock", "what is the airlock for"
    ], [
        "tell me about airlock", "explain airlock", "explain the airlock",
        "tell me about the airlock", "describe airlock"
    ]),
    "why": ([
        "why is there no network", "why do you have no network", "why are you in an airlock",
        "why an airlock", "why are you locked in", "why do you live in a container",
        "why can you not go online", "why use airlock", "what is the point of having no network",
        "why are you shut off"
    ], ["tell me why there is no network", "explain why you are locked in"]),
    "lo": ([
        "what is lo", "what does lo mean", "which interfaces do you have",
        "what interfaces do you see", "which interface is in your container",
        "what is the loopback interface", "how many interfaces do you have"
    ], ["explain lo", "tell me about lo"]),
    "mood": ([
        "are you lonely", "are you bored", "are you happy", "are you sad",
        "do you like it in there", "do you like the airlock", "do you like your home",
        "is it dark in there", "are you alone", "is it nice in there", "do you feel locked in",
        "do you want to get out", "are you trapped", "are you locked up"
    ], []),
    "joke": ([
        "can you tell me a joke", "do you know a joke", "do you know any jokes",
        "can you make me laugh", "are you funny"
    ], [
        "tell me a joke", "make me laugh", "tell a joke", "say something funny",
        "tell me something funny"
    ]),
    "token": ([
        "what is a token", "what are tokens", "what does token mean", "what is one token",
        "how big is a token", "what do you mean by token"
    ], ["explain tokens", "tell me what a token is", "explain what a token is",
        "describe a token"]),
    "phi": ([
        "are you phi", "are you phi-4", "are you phi 4 mini", "are you phi-4-mini", "what is phi-4",
        "what is phi", "what architecture do you have", "are you like phi-4-mini",
        "are you the real phi", "what is your architecture", "are you smaller than phi-4-mini"
    ], ["tell me about phi-4", "tell me your architecture"]),
    "docker": ([
        "what is docker", "what does docker do", "do you need docker", "do you run in docker",
        "what is podman", "what is docker for", "can I use podman", "are you in docker",
        "why docker"
    ], ["tell me about docker", "explain docker", "tell me about podman"]),
    "outer": ([
        "what runs on the host", "what is on the host", "what runs outside",
        "what is outside the airlock", "which parts run on the host", "which parts are outside",
        "what runs outside the container", "what parts are on the host"
    ], ["tell me what runs on the host", "list what runs on the host"]),
    "inner": ([
        "what runs in the container", "what is in the container", "what runs inside",
        "what is inside the airlock", "which parts run in the container", "which parts are inside",
        "what runs inside the container", "what parts are in the container"
    ], ["tell me what runs in the container", "list what runs in the container"]),
    "parts": ([
        "what are the parts of airlock", "what parts does airlock have", "which parts are there",
        "what is airlock made of", "what parts do you know", "how many parts are there",
        "which parts does it have"
    ], [
        "name the parts", "list the parts", "list the parts of airlock",
        "tell me the parts of airlock"
    ]),
    "request": ([
        "how does a request travel", "what is the way of a request",
        "how does a question reach you", "what happens to a request", "where does a request go",
        "what path does a request take", "how does my question get to you"
    ], [
        "explain the way of a request", "describe the path of a request", "follow a request for me"
    ]),
}
GREETINGS = [
    "hello", "hi", "hey", "good morning", "good evening", "good afternoon", "greetings",
    "hello there", "hi there", "hey there", "good day", "howdy"
]
THANKS = [
    "thank you", "thanks", "thanks a lot", "thank you very much", "many thanks",
    "thank you so much", "cheers"
]
BYES = [
    "goodbye", "bye", "bye bye", "see you", "see you later", "good night", "farewell", "take care",
    "until next time"
]
ACKS = [
    "ok", "okay", "I see", "good", "great", "nice", "all right", "very good", "that is good",
    "understood", "fine", "interesting", "cool", "wow"
]
NAMES = [
    "", "", " model", " little model", " friend", " my friend", " airlock", " phi", " again",
    " then", " for that", " for now"
]
NUMBER_WORDS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    "twenty"
]
PLUS = [
    "what is {a} + {b}", "what is {a} plus {b}", "what's {a} + {b}", "how much is {a} + {b}",
    "how much is {a} plus {b}", "{a} + {b}", "{a} plus {b}", "{a}+{b}", "{a} + {b} =",
    "what is the sum of {a} and {b}", "what does {a} + {b} make", "can you add {a} and {b}",
    "what do you get if you add {b} to {a}", "how many are {a} and {b}", "what do {a} and {b} make",
    "{a} + {b} = ?", "what is {a} and {b}", "how much are {a} and {b}", "what is {a}+{b}",
    "{a} plus {b} equals", "I have {a} and get {b} more, how many is that"
]
PLUS_ORDERS = [
    "add {a} and {b}", "add {b} to {a}", "compute {a} + {b}", "calculate {a} plus {b}",
    "please add {a} and {b}", "sum {a} and {b}", "tell me what {a} + {b} is"
]
MINUS = [
    "what is {a} - {b}", "what is {a} minus {b}", "what's {a} - {b}", "how much is {a} - {b}",
    "how much is {a} minus {b}", "{a} - {b}", "{a} minus {b}", "{a}-{b}", "{a} - {b} =",
    "what is left if you take {b} from {a}", "can you subtract {b} from {a}",
    "what does {a} - {b} make", "what is {a} take away {b}", "{a} - {b} = ?", "what is {a}-{b}",
    "{a} minus {b} equals", "I have {a} and lose {b}, how many are left", "{a} take away {b}"
]
MINUS_ORDERS = [
    "subtract {b} from {a}", "take {b} from {a}", "take {b} away from {a}", "compute {a} - {b}",
    "calculate {a} minus {b}", "tell me what {a} - {b} is"
]
REFUSED_SUMS = [
    "what is {a} times {b}", "{a} times {b}", "{a} * {b}", "what is {a} x {b}", "divide {a} by {b}",
    "what is {a} divided by {b}", "{a} / {b}", "multiply {a} by {b}", "what is {a} * {b}",
    "how much is {a} times {b}", "what is the product of {a} and {b}"
]
TOPICS = """
cats dogs horses birds fish lions elephants whales trees flowers roses apples bananas bread cheese
rice soup pizza coffee tea wine milk sugar salt chocolate cars trains ships planes bicycles
rockets stars planets mars venus moon sun sea rivers mountains rain snow wind storms winter summer
music songs films books poems paintings football tennis chess olympics history rome greece egypt
france spain italy germany japan china india brazil canada london paris berlin tokyo money banks
taxes shops clothes shoes hats doctors medicine hearts bones teeth sleep dreams love war peace
kings queens presidents napoleon caesar einstein newton shakespeare mozart physics chemistry
biology atoms light sound electricity python javascript windows linux phones cameras television
radio games schools teachers children parents friends houses kitchens gardens farms wheat gold
silver iron glass paper dinosaurs dragons ghosts magic religion philosophy politics
""".split()
PLACES = [
    "france", "spain", "italy", "germany", "japan", "china", "india", "brazil", "canada", "egypt",
    "peru", "norway", "sweden", "kenya", "chile", "cuba"
]
ABOUT_TOPIC = [
    "what do you think about {t}", "do you like {t}", "can you explain {t}", "who invented {t}",
    "what are {t}", "what is {t}", "where do {t} come from", "why do people like {t}",
    "how do {t} work", "do you know {t}", "what do you know about {t}", "how do I make {t}",
    "how much do {t} cost", "when did {t} begin", "can you write a song about {t}",
    "what is the best thing about {t}", "is it true that {t} are old", "what does the {t} do",
    "where does the {t} run", "what does the {t} talk to", "what is the job of the {t}",
    "what is the {t} for", "what is a {t}", "how many {t} are there", "where can I buy {t}",
    "what colour are {t}"
]
TOPIC_ORDERS = [
    "tell me about {t}", "write a poem about {t}", "write a story about {t}", "explain {t}",
    "draw {t}", "tell me a riddle about {t}", "describe {t}", "sing about {t}",
    "give me a list of {t}", "I want to talk about {t}", "I like {t}", "let us talk about {t}"
]
ABOUT_PLACE = [
    "what is the capital of {t}", "what is the weather in {t}", "how many people live in {t}",
    "where is {t}", "what language do they speak in {t}", "who is the president of {t}",
    "how do I get to {t}", "what time is it in {t}", "is it cold in {t}",
    "what do people eat in {t}"
]
PLAIN = [
    "write a poem", "sing a song", "what is the meaning of life", "what time is it",
    "what day is it today", "who won the world cup", "what is the news", "can you see my files",
    "open the door", "do you speak french", "bonjour", "what is your phone number", "guess my name",
    "do you know me", "what do I look like", "write a program in python",
    "translate this into german", "how old is the universe", "what is your favourite colour",
    "are you in love", "what is the weather like", "can you play chess",
    "who is the king of england", "how do I cook rice", "what should I eat tonight", "do you dream",
    "recommend a film", "what is quantum physics", "how tall is mount everest",
    "when was the second world war", "play some music", "book a table for two", "what is love"
]
ECHO = ["say {t}", "repeat {t}", "repeat after me: {t}", "please say {t}", "echo {t}"]
MORE_PLUS = [
    "and plus {b}", "plus {b}", "and + {b}", "+ {b}", "and if you add {b}", "now add {b}",
    "add {b}", "add {b} to that", "and {b} more", "then add {b}", "what if I add {b}",
    "and with {b} more"
]
MORE_MINUS = [
    "and minus {b}", "minus {b}", "and - {b}", "- {b}", "now subtract {b}", "subtract {b}",
    "take away {b}", "and if you take away {b}", "subtract {b} from that", "and {b} less",
    "then take away {b}", "now take {b} away"
]
MORE = {
    "does": [
        "what {do} {it} do", "and what {do} {it} do", "what {be} {it} for", "and what {be} {it}",
        "what {be} {it} good for", "so what {do} {it} do", "and what is the job of that",
        "can you explain that part", "why do we need {it}"
    ],
    "where": [
        "where {do} {it} run", "and where {do} {it} run", "where {be} {it}", "and where {be} {it}",
        "where {do} {it} live", "where can I find {it}", "on which side {be} {it}",
        "so where {be} {it}", "inside or outside"
    ],
    "talks": [
        "what {do} {it} talk to", "and what {do} {it} talk to", "who {do} {it} talk to",
        "and who {do} {it} talk to", "what comes after {it}", "what {be} {it} connected to",
        "and what comes next", "who {do} {it} work with"
    ],
}
ANOTHER = [
    "and {t}", "what about {t}", "how about {t}", "and what about {t}", "and for {t}", "now {t}",
    "same question for {t}"
]
WHY = [
    "why", "why is that", "but why", "and why", "why so", "what for", "and why is that",
    "for what reason"
]
