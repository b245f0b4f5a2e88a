"""The facts of the small world: tables only, no chance and no phrasing.

Invariant: every table is a constant; each key has one value, so no two questions about the world can disagree.
"""

__all__ = [
    "ANTONYMS",
    "CAPITALS",
    "COLOURS",
    "CONTINENTS",
    "DAYS",
    "MONTHS",
    "MONTH_DAYS",
    "NO_FACTS",
    "NUMBER_WORDS",
    "PEOPLE",
    "PLACES",
    "UNKNOWN",
    "YES_FACTS",
]

_COUNTRY_ROWS = """
France Paris Europe|Germany Berlin Europe|Italy Rome Europe|Spain Madrid Europe|Portugal Lisbon Europe
Greece Athens Europe|Austria Vienna Europe|Belgium Brussels Europe|Denmark Copenhagen Europe|Sweden Stockholm Europe
Norway Oslo Europe|Finland Helsinki Europe|Poland Warsaw Europe|Hungary Budapest Europe|Romania Bucharest Europe
Bulgaria Sofia Europe|Croatia Zagreb Europe|Serbia Belgrade Europe|Ireland Dublin Europe|Iceland Reykjavik Europe
Ukraine Kyiv Europe|Russia Moscow Europe|Switzerland Bern Europe|England London Europe|Scotland Edinburgh Europe
Estonia Tallinn Europe|Latvia Riga Europe|Lithuania Vilnius Europe|China Beijing Asia|Japan Tokyo Asia
India New_Delhi Asia|Thailand Bangkok Asia|Vietnam Hanoi Asia|Indonesia Jakarta Asia|Nepal Kathmandu Asia
Pakistan Islamabad Asia|Iran Tehran Asia|Iraq Baghdad Asia|Turkey Ankara Asia|Mongolia Ulaanbaatar Asia
South_Korea Seoul Asia|Lebanon Beirut Asia|Jordan Amman Asia|Egypt Cairo Africa|Kenya Nairobi Africa
Morocco Rabat Africa|Ghana Accra Africa|Nigeria Abuja Africa|Ethiopia Addis_Ababa Africa|Senegal Dakar Africa
Uganda Kampala Africa|Canada Ottawa North_America|Mexico Mexico_City North_America|Cuba Havana North_America
Brazil Brasilia South_America|Argentina Buenos_Aires South_America|Chile Santiago South_America
Peru Lima South_America|Colombia Bogota South_America|Australia Canberra Oceania
"""
_ROWS = [row.split() for line in _COUNTRY_ROWS.strip().splitlines() for row in line.split("|")]

CAPITALS: dict[str, str] = {row[0].replace("_", " "): row[1].replace("_", " ") for row in _ROWS}
CONTINENTS: dict[str, str] = {row[0].replace("_", " "): row[2].replace("_", " ") for row in _ROWS}

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
]  # fmt: skip
MONTH_DAYS = ["31", "28 or 29", "31", "30", "31", "30", "31", "31", "30", "31", "30", "31"]

NUMBER_WORDS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip

COLOURS = {
    "the sky": "blue", "grass": "green", "snow": "white", "coal": "black", "blood": "red", "a lemon": "yellow",
    "a banana": "yellow", "a carrot": "orange", "a tomato": "red", "milk": "white", "a leaf": "green",
    "the sun": "yellow", "a frog": "green", "a strawberry": "red", "an elephant": "grey", "the sea": "blue",
}  # fmt: skip

ANTONYMS = {
    "hot": "cold", "big": "small", "up": "down", "left": "right", "day": "night", "fast": "slow", "old": "young",
    "happy": "sad", "open": "closed", "wet": "dry", "light": "dark", "hard": "soft", "full": "empty",
    "rich": "poor", "early": "late", "high": "low", "black": "white", "good": "bad", "long": "short",
}  # fmt: skip

# Statement pairs: "is fire hot" -> yes, "fire is hot"; the same subject with a wrong property -> no.
YES_FACTS = {
    "Is fire hot?": "fire is hot", "Is ice cold?": "ice is cold", "Can birds fly?": "birds can fly",
    "Can fish swim?": "fish can swim", "Is the sun a star?": "the sun is a star", "Is a dog an animal?": "a dog is an animal",
    "Is a cat an animal?": "a cat is an animal", "Is water wet?": "water is wet", "Is a rose a flower?": "a rose is a flower",
    "Is the earth round?": "the earth is round", "Is an apple a fruit?": "an apple is a fruit",
    "Is a carrot a vegetable?": "a carrot is a vegetable", "Do cows give milk?": "cows give milk",
    "Do bees make honey?": "bees make honey", "Is a whale big?": "a whale is big", "Is a car a machine?": "a car is a machine",
    "Does a week have seven days?": "a week has seven days", "Does a year have twelve months?": "a year has twelve months",
    "Does a spider have eight legs?": "a spider has eight legs", "Is sugar sweet?": "sugar is sweet",
}  # fmt: skip
NO_FACTS = {
    "Is fire cold?": "fire is hot", "Is ice hot?": "ice is cold", "Can stones fly?": "stones cannot fly",
    "Can trees swim?": "trees cannot swim", "Is the moon a star?": "the moon is not a star",
    "Is a dog a plant?": "a dog is an animal", "Is a cat a fruit?": "a cat is an animal", "Is water dry?": "water is wet",
    "Is a rose an animal?": "a rose is a flower", "Is the earth flat?": "the earth is round",
    "Is an apple a vegetable?": "an apple is a fruit", "Is a carrot an animal?": "a carrot is a vegetable",
    "Do cows make honey?": "bees make honey", "Do bees give milk?": "cows give milk", "Is a mouse big?": "a mouse is small",
    "Is a car a fruit?": "a car is a machine", "Does a week have ten days?": "a week has seven days",
    "Does a year have five months?": "a year has twelve months", "Does a spider have two legs?": "a spider has eight legs",
    "Is sugar salty?": "sugar is sweet",
}  # fmt: skip

PEOPLE = """
Anna Ben Carla David Emma Felix Grace Henry Irene Jack Kate Leo Maria Noah Olivia Paul Quinn Rosa Sam Tina Uma Victor
Wendy Xavier Yara Zoe Adam Bella Carlos Diana Erik Fiona George Hannah Ivan Julia Kevin Laura Martin Nina Oscar Petra
Robert Sara Thomas Ursula Vera Walter Yusuf Alice Bob Charlie Dora Ethan Freya Gustav Helena Igor Jane Karl Lena Max
Nora Otto Pia Ralf Sofie Tom Ulla Vince Will Ada Boris Clara Dan Elsa Frank Gina Hugo Ines Jonas Kira Luca Mia Nils
Omar Paula Rick Stella Theo Viola Amir Bianca Chen Dimitri Esra Farid Gita Hiro Isabel Jorge Keiko Lars Mei Nadia
Olga Pedro Rania Sven Tara Umar Wei Mario Luigi Alex Chris Robin Sandy Andy Jamie Jordan Taylor Morgan Casey Riley
Lucy Mark Peter Susan Linda James John Mary Michael Sophie Daniel Ella Simon Ruth Oliver Amelia Lily Harry Ron
""".split()

PLACES = """
Hamburg Munich Milan Naples Lyon Nice Porto Seville Krakow Geneva Zurich Antwerp Bergen Turku Glasgow Leeds Boston
Chicago Dallas Denver Houston Miami Seattle Toronto Montreal Vancouver Sydney Melbourne Perth Auckland Osaka Kyoto
Shanghai Mumbai Delhi Lagos Casablanca Dubai Doha Istanbul Marseille Florence Venice Barcelona Valencia Utrecht
""".split()

UNKNOWN = [
    "What is the meaning of life?", "Who won the football match yesterday?", "How many people live in {country}?",
    "Who is the president of {country}?", "What is the best phone to buy?", "How do I repair a car engine?",
    "Who wrote Hamlet?", "What is the price of gold?", "What is quantum physics?", "How tall is {person}?",
    "When was {person} born?", "What did {person} eat for breakfast?", "Where does {person} live?",
    "What is the phone number of {person}?", "Explain the theory of relativity.", "Who invented the telephone?",
    "What is the longest river in {country}?", "What is the currency of {country}?", "What will happen tomorrow?",
    "How do I cook lasagna?", "What is the stock price of Acme?", "Who is the king of {country}?",
    "What language do people speak in {country}?", "Who is the boss of {person}?", "How far away is the moon?",
    "What is the weather in {place}?", "What time is it in {place}?", "What is the weather like in {place} today?",
    "How do I get to {place}?", "What is the news from {place}?", "Which shop in {place} is open?",
    "What is the square root of {big}?", "How many stars are there?", "What is the chemical symbol of gold?",
    "What is {big} times {big}?", "Translate this to French: good day.", "Who painted the Mona Lisa?",
    "When did the war end?", "What is the capital of {fantasy}?", "Where is {fantasy}?", "Who rules {fantasy}?",
]  # fmt: skip
