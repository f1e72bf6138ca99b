"""Lists the words of the synthetic shop, of which its products' names are made. Brands are made up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Category:
    """A leaf of the shop's tree. What is bought after it comes from `goes_with`, a category of the same department."""

    department: str
    name: str
    nouns: tuple[str, ...]
    typical_price: float
    goes_with: str


BRANDS = {
    "Outdoor": ("Nordwand", "Pinecrest", "Talus", "Fernhill", "Ridgeway", "Lumera"),
    "Kitchen": ("Olivetta", "Brasa", "Steinbach", "Mirabel", "Copperleaf", "Hearthly"),
    "Office": ("Quillmark", "Papyra", "Linea", "Deskora", "Inkwell", "Foldwise"),
    "Garden": ("Verdano", "Rosehip", "Terrafina", "Loamy", "Greenspan", "Petalis"),
    "Sport": ("Velocita", "Stride", "Kinetra", "Summit9", "Aerofit", "Pulsar"),
    "Home": ("Lunera", "Woodhaus", "Casalia", "Softline", "Nestora", "Brightwell"),
    "Electronics": ("Voltaro", "Sonique", "Pixella", "Ampere", "Clearwave", "Nanotek"),
    "Toys": ("Bricolo", "Funfair", "Zebrella", "Puzzlo", "Kitebird", "Tumbly"),
}

ATTRIBUTES = {
    "Outdoor": ("lightweight", "waterproof", "insulated", "compact", "four-season", "ultralight"),
    "Kitchen": ("stainless", "non-stick", "ceramic", "cast iron", "dishwasher-safe", "copper"),
    "Office": ("recycled", "ergonomic", "refillable", "adjustable", "leather", "magnetic"),
    "Garden": ("galvanized", "frost-proof", "telescopic", "organic", "self-watering", "wooden"),
    "Sport": ("breathable", "padded", "carbon", "reflective", "cushioned", "elastic"),
    "Home": ("linen", "oak", "velvet", "dimmable", "washable", "woven"),
    "Electronics": ("wireless", "rechargeable", "noise-cancelling", "portable", "4K", "solar"),
    "Toys": ("wooden", "glow-in-the-dark", "soft", "magnetic", "educational", "giant"),
}

COLOURS = ("black", "white", "red", "blue", "green", "grey", "sand", "navy", "orange", "teal")

_TREE: dict[str, list[tuple[str, tuple[str, ...], float]]] = {
    "Outdoor": [
        ("Tents", ("dome tent", "tunnel tent", "tarp", "shelter"), 180),
        ("Sleeping", ("sleeping bag", "sleeping pad", "camp pillow", "hammock"), 85),
        ("Cooking", ("camp stove", "mess kit", "fuel canister", "titanium mug"), 45),
        ("Packs", ("hiking backpack", "daypack", "dry bag", "rain cover"), 95),
    ],
    "Kitchen": [
        ("Pans", ("frying pan", "saucepan", "wok", "casserole"), 60),
        ("Knives", ("chef knife", "bread knife", "paring knife", "knife block"), 55),
        ("Baking", ("baking tray", "mixing bowl", "rolling pin", "cake tin"), 25),
        ("Coffee", ("espresso maker", "coffee grinder", "milk frother", "french press"), 75),
    ],
    "Office": [
        ("Writing", ("fountain pen", "gel pen", "mechanical pencil", "marker set"), 14),
        ("Paper", ("notebook", "sketch pad", "sticky notes", "copy paper"), 9),
        ("Desk", ("desk lamp", "monitor stand", "desk organizer", "footrest"), 48),
        ("Chairs", ("office chair", "seat cushion", "lumbar support", "drafting stool"), 160),
    ],
    "Garden": [
        ("Tools", ("pruning shears", "garden fork", "hand trowel", "rake"), 28),
        ("Pots", ("plant pot", "hanging basket", "raised bed", "planter box"), 32),
        ("Watering", ("garden hose", "watering can", "sprinkler", "drip kit"), 36),
        ("Furniture", ("garden bench", "patio table", "sun lounger", "parasol"), 150),
    ],
    "Sport": [
        ("Running", ("running shoes", "running vest", "running socks", "headlamp"), 70),
        ("Cycling", ("bike helmet", "cycling gloves", "bike pump", "saddle bag"), 50),
        ("Fitness", ("yoga mat", "dumbbell set", "resistance band", "foam roller"), 38),
        ("Swimming", ("swim goggles", "swim cap", "kickboard", "swim towel"), 22),
    ],
    "Home": [
        ("Bedding", ("duvet cover", "pillowcase", "bed sheet", "blanket"), 58),
        ("Lighting", ("floor lamp", "table lamp", "pendant light", "string lights"), 65),
        ("Storage", ("storage basket", "shelf unit", "coat rack", "shoe cabinet"), 80),
        ("Decor", ("wall mirror", "picture frame", "vase", "candle holder"), 30),
    ],
    "Electronics": [
        ("Audio", ("headphones", "earbuds", "bluetooth speaker", "turntable"), 110),
        ("Power", ("power bank", "wall charger", "charging cable", "travel adapter"), 30),
        ("Cameras", ("action camera", "tripod", "memory card", "camera bag"), 120),
        ("Smart home", ("smart bulb", "smart plug", "door sensor", "thermostat"), 45),
    ],
    "Toys": [
        ("Building", ("building blocks", "marble run", "train set", "model kit"), 40),
        ("Puzzles", ("jigsaw puzzle", "puzzle cube", "brain teaser", "floor puzzle"), 18),
        ("Plush", ("plush bear", "plush rabbit", "hand puppet", "plush dragon"), 20),
        ("Games", ("board game", "card game", "dice set", "travel game"), 27),
    ],
}

CATEGORIES: tuple[Category, ...] = tuple(
    Category(department, name, nouns, price, leaves[(at + 1) % len(leaves)][0])
    for department, leaves in _TREE.items()
    for at, (name, nouns, price) in enumerate(leaves)
)
